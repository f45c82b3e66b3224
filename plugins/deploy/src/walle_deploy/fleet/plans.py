"""The plan that a simulation takes if none is given: quick steps, whose samples a fleet of this size can bring."""

from __future__ import annotations

from typing import Any

LEAST = 20  # reports of an arm
REPORTERS = 50_000  # of a large fleet, so many devices report
_GRAY = ((1.0, 0.5, 120.0), (10.0, 0.5, 120.0), (50.0, 0.2, 120.0))  # percent, control, seconds
_MOST = 300  # reports of an arm
CONTROL = 0.05  # of the full stage


def reporting(size: int) -> float:
    """The share of devices that report, if nothing else is said."""
    return min(1.0, REPORTERS / size)


def quick(size: int, share: float, *, simulation: bool = True) -> dict[str, Any]:
    """Gray steps of some minutes, and full.

    Args:
        size: devices of the fleet.
        share: of them that report.
        simulation: whether a simulation stage comes first.
    """
    stages: list[dict[str, Any]] = [{"kind": "simulation"}] if simulation else []
    for percent, control, seconds in _GRAY:
        arm = size * share * percent / 100 * min(control, 1 - control)
        if arm < 2 * LEAST:
            continue
        wanted = int(max(LEAST, min(_MOST, arm / 10)))
        gates = [{"kind": "sample", "reports": wanted}, {"kind": "time", "seconds": seconds}]
        stages.append({"kind": "gray", "percent": percent, "control": control, "gates": gates})
    return {"stages": [*stages, {"kind": "full", "control": CONTROL}]}
