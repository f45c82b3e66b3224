"""Events as a task's entry gets them: dicts of plain values, the same on devices, in simulations and in dry runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import structs


def plain_events(events: Iterable[Any]) -> list[dict[str, Any]]:
    """Events of walle_pipeline with their kinds and all their fields; a match's are those of its `span`."""
    return [{"kind": event.kind, **structs.asdict(event)} for event in events]
