"""How numbers, times and states are written for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

UNKNOWN = "–"
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_FAR_S = 7 * 86400.0  # further away than this, a date says more than a span


def count(number: float) -> str:
    """1234567 -> "1,234,567"."""
    return f"{number:,.0f}"


def compact(number: float) -> str:
    """1234567 -> "1.23 M", where there is little room."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(number) >= factor:
            return _plain(number / (1e3 if factor == 1e4 else factor), 3) + unit
    return _plain(number, 3) if number < 1 else count(number)


def share(part: float, digits: int = 3) -> str:
    """0.0123 -> "1.23 %"."""
    percent = part * 100
    return "0 %" if percent == 0 else f"{_plain(percent, digits)} %"


def size(number: float) -> str:
    """Bytes: 1536 -> "1.54 kB"."""
    if number < 1000:
        return f"{number:.0f} B"
    units = ("kB", "MB", "GB", "TB")
    power = min(int(math.log10(number) / 3), len(units))
    return f"{_plain(number / 1000**power, 3)} {units[power - 1]}"


def money(value: float) -> str:
    """0.01234 -> "0.0123"; what is less than can be shown, so."""
    if value >= 1 or not value:
        return f"{value:,.2f}"
    return f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


def number(value: float | None, digits: int = 3) -> str:
    """Any measured value; None, which stands for infinity, too."""
    if value is None or math.isinf(value):
        return "∞"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    """So many significant digits, without an exponent and zeros that say nothing."""
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def span(seconds: float) -> str:
    """Its two largest units: 200 -> "3 min 20 s"."""
    if seconds < 1:
        return "0 s" if seconds <= 0 else f"{seconds:.2g} s"
    left = round(seconds)
    parts: list[str] = []
    for length, unit in _SPANS:
        many, left = divmod(left, round(length))
        if many or parts:
            parts.append(f"{many} {unit}" if many else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def brief(text: object, most: int = 240) -> str:
    """Cut, if it is longer."""
    told = str(text)
    return told if len(told) <= most else told[: most - 1] + "…"


def moment(at: float | None) -> str:
    """A time of the server's clock: "2026-11-29 03:04:05 UTC"."""
    made = _time(at)
    return UNKNOWN if made is None else f"{made:%Y-%m-%d %H:%M:%S} UTC"


def machine(at: float | None) -> str:
    """As the attribute `datetime` of <time> has it."""
    made = _time(at)
    return "" if made is None else f"{made:%Y-%m-%dT%H:%M:%SZ}"


def ago(at: float | None, now: float) -> str:
    """Relative to `now`: "3 min 20 s ago", "in 5 min"; a date if it is a week away."""
    if _time(at) is None or at is None:
        return UNKNOWN
    away = now - at
    if abs(away) > _FAR_S:
        return moment(at)[:10]
    if abs(away) < 1:
        return "now"
    return f"{span(away)} ago" if away > 0 else f"in {span(-away)}"


def _time(at: float | None) -> datetime | None:
    if at is None or at <= 0:
        return None
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None
