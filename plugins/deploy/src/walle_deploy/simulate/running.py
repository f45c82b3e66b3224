"""Runs of a prepared version in its process, with the limits of walle.toml.

The process is that of the agent (agent.contained owns it): what passes here has run as it will run on devices.
"""

from __future__ import annotations

import threading
from typing import Any, Self

import attrs
from msgspec.structs import replace

from walle_deploy.agent.contained import Container, Run
from walle_deploy.simulate.prepared import Prepared
from walle_deploy.task.dryrun import START_S

COSTLY = (
    "start",
    "time",
    "memory",
    "died",
    "answer",
)  # kinds of failures after which a process is started anew


class Interrupted(BaseException):
    """The simulation was ended; its runs say nothing."""


class Stop:
    """Ends the runs of a thread at once, when another one says so.

    Attributes:
        set: whether it was said.
        runs: that were made so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._containers: set[Container] = set()
        self.set, self.runs = False, 0

    def now(self) -> None:
        """Ends what runs; to be called again, for what was just about to begin."""
        self.set = True
        with self._lock:
            containers = list(self._containers)
        for container in containers:
            container.interrupt()

    def check(self) -> None:
        """Raises Interrupted if the simulation was ended."""
        if self.set:
            raise Interrupted

    def add(self, container: Container) -> None:
        """Another process that `now` ends."""
        with self._lock:
            self._containers.add(container)

    def remove(self, container: Container) -> None:
        """The process has ended."""
        with self._lock:
            self._containers.discard(container)


class Runs:
    """Calls of one version's entry, one after the other; a context manager that ends the process.

    Args:
        version: to run.
        start_s: seconds that the process may take to start.
        stop: ends them from another thread.
    """

    def __init__(self, version: Prepared, start_s: float = START_S, stop: Stop | None = None) -> None:
        self.version, self.limit_ms = version, version.config.resources.time_ms
        # How long a run took is measured in its process. It is waited for longer, as the machine is shared with other runs.
        patient = replace(version.config.resources, time_ms=min(2 * self.limit_ms + 500, 3_600_000))
        loaded = attrs.evolve(version.loaded, config=replace(version.config, resources=patient))
        self._container, self._stop = Container(loaded, start_s), stop or Stop()

    def __enter__(self) -> Self:
        self._stop.add(self._container)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.remove(self._container)
        self._container.close()

    def start(self) -> str:
        """Starts the process. What went wrong; "" if it is ready."""
        self._stop.check()
        problem = self._container.start()
        self._stop.check()
        return problem

    def run(self, events: list[dict[str, Any]]) -> Run:
        """Calls the entry for a match of these events. Raises Interrupted."""
        first = (
            not self._container.alive
        )  # modules and plans are made in it: it may take longer, as on a device
        self._stop.check()
        run = self._container.run(self.version.inputs(events))
        self._stop.check()
        self._stop.runs += 1
        if not run.failed and run.ms > self.limit_ms and not first:
            why = f"it took {run.ms:.0f} ms; {self.limit_ms} are allowed"
            return attrs.evolve(run, why=why, kind="time", result={})
        return run
