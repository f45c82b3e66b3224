"""Runs one match of a recorded log again: what a simulation's example shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from walle_deploy.agent.contained import Run
from walle_deploy.simulate.counts import Example
from walle_deploy.simulate.errors import SimulationError
from walle_deploy.simulate.matches import Replay, kinds_of
from walle_deploy.simulate.prepared import NEW, prepared
from walle_deploy.simulate.recorded import Damages, SchemaName, logs_in, schema_named, schema_of
from walle_deploy.simulate.running import Runs
from walle_deploy.task.dryrun import START_S
from walle_deploy.task.events import plain_events
from walle_deploy.task.trigger import compile_trigger


def replay(
    files: Mapping[str, bytes],
    example: Example,
    logs: Sequence[str | Path],
    *,
    schema: SchemaName = None,
    start_s: float = START_S,
) -> Run:
    """Runs the match of an example in a new process. The run's `inputs` are what the entry was called with.

    Args:
        files: of a version with the trigger that found it.
        example: of `Simulation.examples`.
        logs: as the simulation was given them.
        schema: likewise.
        start_s: seconds that the process may take to start.

    Raises SimulationError if the logs do not have that match, TaskError if the files make no task.
    """
    with prepared(NEW, files) as version:
        events = _events(version.config, example, logs, schema)
        with Runs(version, start_s) as runs:
            return attrs.evolve(runs.run(events), inputs=version.inputs(events))


def _events(
    config: Any, example: Example, logs: Sequence[str | Path], schema: SchemaName
) -> list[dict[str, Any]]:
    log = next((log for log in logs_in(logs) if log.name == example.log), None)
    if log is None:
        raise SimulationError(f"{example}: there is no such log; give the same logs as to the simulation")
    patterns = compile_trigger(config.trigger)
    kinds = schema_of(log, schema_named(schema), kinds_of(patterns))
    with closing(iter(Replay(config.task.name, patterns, log, kinds, Damages()))) as matches:
        for number, match in enumerate(matches):
            if number == example.number:
                found = match.position, match.key, match.start, match.time
                if found != (example.position, example.key, example.start, example.time):
                    break
                return plain_events(match.span)
    raise SimulationError(f"{example}: the log or the trigger is another than in the simulation")
