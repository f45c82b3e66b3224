"""Simulates releases that wait for it, on a folder of recorded logs, and tells the platform how it ended.

No data is no verdict: the release stays in its simulation stage, which says why, until there are other logs; a failed
simulation ends it, and nobody gets the version.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from walle_deploy.errors import DeployError, TaskError
from walle_deploy.manifest import Manifest
from walle_deploy.simulate.limits import Limits
from walle_deploy.simulate.recorded import logs_in
from walle_deploy.simulate.result import Simulation
from walle_deploy.simulate.simulation import DEFAULT, simulate
from walle_deploy.store.files import FileStore

STAGE = "simulation"
DONE = "done"
WAIT_S = 5.0  # between looks at the releases
_log = logging.getLogger(__name__)

Files = Mapping[str, bytes]
Finder = Callable[[str, int], Files]  # task, number -> files of the version


class Releases(Protocol):
    """What this needs of a Platform or a DeployClient."""

    def release(self, release: int, /) -> Any:
        """A release: `task`, `version` (its number), and `standing` with `title`, `status` and `previous`."""

    def simulated(self, release: int, passed: bool, why: str, /) -> None:
        """Takes the verdict."""


class Platform(Releases, Protocol):
    """What `Simulator` needs."""

    def releases(self) -> Sequence[Any]:
        """The newest releases, each with its `id`."""

    def manifest(self, task: str, number: int, /) -> bytes:
        """The manifest of a version."""


def files_of(platform: Platform, store: FileStore) -> Finder:
    """Finds the files of versions in the platform's store. What is exclusive for devices is left out."""

    def find(task: str, number: int) -> Files:
        manifest = Manifest.decode(platform.manifest(task, number))
        return {
            file.path: store.read(file.sha256, limit=file.size)
            for file in manifest.files
            if not file.exclusive
        }

    return find


def waits(release: Any) -> bool:
    """Whether a release is in its simulation stage."""
    return release.standing.title == STAGE and release.standing.status in ("running", "paused")


def simulate_release(
    releases: Releases,
    release: int,
    logs: Sequence[str | Path],
    files: Finder,
    *,
    limits: Limits = DEFAULT,
    **options: Any,
) -> Simulation | None:
    """Simulates a release and tells how it ended, unless there was no data. None if it is not in its simulation stage.

    Args:
        releases: a Platform or a DeployClient.
        release: id.
        logs: recorded events.
        files: finds those of versions: `files_of`, or a repository's ``lambda task, n: scenario.files(task, f"v{n}")``.
        limits: what must be shown.
        options: further ones of `simulate`.

    Raises StoreError if the files are not there; SimulationError. A version that is no task has failed.
    """
    found = releases.release(release)
    if not waits(found):
        return None
    previous = found.standing.previous
    old = files(found.task, int(previous[1:])) if previous else None
    new = files(found.task, found.version)
    try:
        made = simulate(new, logs, baseline=old, limits=limits, **options)
    except TaskError as error:
        made = Simulation(task=found.task, limits=limits).ended("failed", f"it is no task: {error}")
    if made.verdict != "no data":
        releases.simulated(release, made.passed, made.why)
    return made


class Simulator:
    """Simulates the releases of a platform one after the other, in a thread, as long as the context lasts.

    Args:
        platform: whose releases.
        store: of the versions' files.
        logs: files and folders of recorded events; looked at anew for each release.
        tell: called with each release's id and its simulation.
        wait_s: seconds between looks at the releases.
        limits: what must be shown.
        options: further ones of `simulate`.
    """

    def __init__(
        self,
        platform: Platform,
        store: FileStore,
        logs: Sequence[str | Path],
        *,
        tell: Callable[[int, Simulation], None] = lambda release, made: None,
        wait_s: float = WAIT_S,
        limits: Limits = DEFAULT,
        **options: Any,
    ) -> None:
        self._platform, self._files, self._logs = platform, files_of(platform, store), logs
        self._tell, self._wait_s, self._limits, self._options = tell, wait_s, limits, options
        self._known: dict[int, Any] = {}  # release -> the logs that had no data for it, or DONE
        self._problems: dict[int, str] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="walle-simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def step(self) -> None:
        """Simulates every release that waits for it, unless it had no data in the same logs before. Raises DeployError."""
        for release in self._platform.releases():
            if not waits(release) or self._known.get(release.id) == DONE:
                continue
            logs = [(log.name, log.size) for log in logs_in(self._logs)]
            if self._known.get(release.id) == logs:
                continue
            try:
                made = simulate_release(
                    self._platform, release.id, self._logs, self._files, limits=self._limits,
                    progress=self._look, **self._options,
                )  # fmt: skip
            except _Ended:
                return
            except DeployError as error:  # a file that is away for now: the others need not wait for it
                if self._problems.get(release.id) != str(error):
                    _log.warning("release %d cannot be simulated: %s", release.id, error)
                self._problems[release.id] = str(error)
                continue
            if made is not None:
                self._known[release.id] = logs if made.verdict == "no data" else DONE
                self._tell(release.id, made)

    def _look(self, _: object) -> None:
        if self._ending.is_set():
            raise _Ended

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.step()
            except DeployError as error:  # a database that is away for now
                _log.warning("the releases cannot be simulated: %s", error)
            except Exception:  # a fault of one look must not end those after it
                _log.exception("a simulation could not be made")
            self._ending.wait(self._wait_s)


class _Ended(BaseException):
    pass
