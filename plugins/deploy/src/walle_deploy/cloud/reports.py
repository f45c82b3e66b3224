"""How often tasks ran on devices, from the reports that come through the tunnel."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from walle_deploy.agent.delivery import STREAM
from walle_deploy.agent.journal import Outcome
from walle_deploy.cloud.follow import Record

__all__ = ["STREAM", "runs_of"]

_decode = msgspec.msgpack.Decoder(list[Outcome]).decode


def runs_of(records: Sequence[Record], tasks: Collection[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """(task, version) -> runs, and runs that were not confident; only of these tasks. What is no report is passed over."""
    made: dict[tuple[str, str], tuple[int, int]] = {}
    for record in records:
        try:
            outcomes = _decode(record.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        for one in outcomes:
            # A run has a time; other reports, of what was refused or left, have none.
            if one.task in tasks and one.version and one.version.isprintable() and "ms" in one.values:
                runs, unsure = made.get((one.task, one.version), (0, 0))
                made[one.task, one.version] = (runs + 1, unsure + (one.values.get("unsure", 0.0) > 0))
    return made
