"""Which requests may carry a profile: those to origins (scheme, host, port) that the application names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from walle_deploy.errors import HookError

Origin = tuple[str, str, int | None]  # the port is None where the URL does not say it

_PORTS = {"http": 80, "https": 443}


def allowed(named: Iterable[str], *, clear: bool = False) -> dict[Origin, Origin]:
    """Every way in which a request's URL may write one of the origins -> the origin with its port.

    Arguments:
        named: such as ``https://api.shop.example``, exact: neither other schemes, ports, nor subdomains.
        clear: also take ``http://`` of other machines, over which anyone between can read profile and token.

    Raises HookError.
    """
    found: dict[Origin, Origin] = {}
    for text in named:
        scheme, host, port = _read(text)
        if scheme == "http" and not clear and not _is_loopback(host):
            raise HookError(
                f"{text}: the profile and the device's token would travel in the clear; use https, or say clear=True"
            )
        whole = (scheme, host, port)
        found[whole] = whole
        if port == _PORTS[scheme]:
            found[scheme, host, None] = whole
    if not found:
        raise HookError("no origin is named, so no request would carry the profile; name one: https://host")
    return found


def origin_of(url: str) -> Origin | None:
    """The origin of a request's URL; None for one that has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", port


def _read(text: str) -> tuple[str, str, int]:
    form = "wanted an origin as https://host or https://host:port"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if not text.isascii() else parts.hostname or ""
    except (ValueError, UnicodeError) as error:
        raise HookError(f"{text!r:.200}: {error}; {form}") from error
    if parts.scheme not in _PORTS or not host or parts.path not in ("", "/") or "@" in parts.netloc:
        raise HookError(f"{text!r:.200}: {form}")
    if parts.query or parts.fragment or "*" in host:
        raise HookError(f"{text!r:.200}: {form}")
    return parts.scheme, host, _PORTS[parts.scheme] if port is None else port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
