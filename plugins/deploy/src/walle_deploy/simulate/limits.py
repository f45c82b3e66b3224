"""What a simulation must show for a version to pass."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from walle_deploy.simulate.errors import SimulationError

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Level = Annotated[float, msgspec.Meta(gt=0, lt=0.5)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits; `msgspec.convert` checks those that come as plain values.

    Args:
        runs: fewer are no data, unless they show already that the version fails too often.
        failures: largest share of failed runs.
        misfits: largest share of runs whose outputs or features are not as declared.
        alpha: a version that is as good as the baseline fails the comparison with at most this probability.
        p99_ms: 99 of 100 runs are not longer; None: as walle.toml allows for one.
        unsure: largest share of results that the task itself is not confident of.
        disagree: largest share of results that differ from the baseline's.
        unstable: largest share of repeated runs with another result than before.
        patience: runs of one part of the logs that may end their process, after which the simulation gives up.
    """

    runs: Annotated[int, msgspec.Meta(ge=1)] = 100
    failures: Share = 0.01
    misfits: Share = 0.0
    alpha: Level = 0.01
    p99_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    unsure: Share = 1.0
    disagree: Share = 1.0
    unstable: Share = 1.0
    patience: Annotated[int, msgspec.Meta(ge=1)] = 10


def read_limits(file: str | Path) -> Limits:
    """Those of a TOML file. Raises SimulationError."""
    try:
        return msgspec.convert(tomllib.loads(Path(file).read_text("utf-8")), Limits)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SimulationError(f"{file}: no limits of a simulation: {error}") from error
