"""Judges releases that are in their simulation stage, in a process of its own, so that no device waits for it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from walle_deploy.errors import DeployError
from walle_deploy.offered import installed_gates
from walle_deploy.server import folder
from walle_deploy.server.logs import event, set_up
from walle_deploy.server.platform import Platform
from walle_deploy.server.settings import Settings
from walle_deploy.server.stepping import ACTIVE
from walle_deploy.server.types import ReleaseInfo
from walle_deploy.store.files import FileStore
from walle_deploy.trust import AnswerSigner

WHO = "the simulation"
LOOK_S = 1.0  # between looks at the releases
BREATH_S = 5.0  # after the death of the process, before the next one
GRACE_S = 15.0  # to end, before it is killed
NICE = 10  # devices come first
SEEN = 2000  # releases whose revision is remembered


def check(settings: Settings) -> None:
    """Raises DeployError for what the process would find out by itself."""
    _options(settings)


class Simulating:
    """Keeps the process running as long as the context lasts; it ends with this one, however that ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spawn = multiprocessing.get_context("spawn")
        self._theirs, self._lifeline = self._spawn.Pipe(duplex=False)  # ends when nobody here holds it
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="walle-simulating", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._lifeline.close()
        self._thread.join()
        self._theirs.close()

    def _run(self) -> None:
        while not self._over.is_set():
            process = self._spawn.Process(target=_simulate, args=(self._settings, self._theirs))
            process.start()
            wait([process.sentinel, self._theirs])
            if not self._over.is_set():
                process.join()
                event("the simulation's process died", logging.ERROR, status=process.exitcode)
                self._over.wait(BREATH_S)
                continue
            process.join(GRACE_S)
            if process.is_alive():
                event("the simulation's process does not end, and is killed", logging.ERROR)
                process.kill()
                process.join()


class Waiting:
    """A platform's releases that are in their simulation stage, as `simulate.runner.Simulator` asks for them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._seen: dict[int, int] = {}
        self._open: set[int] = set()

    def releases(self) -> Sequence[ReleaseInfo]:
        """Those that may be in it; a release that has left it does not come back."""
        from walle_deploy.simulate.runner import waits

        for each in self._platform.changed(self._seen):
            if each.status in ACTIVE and each.release not in self._seen:
                self._open.add(each.release)
            self._seen[each.release] = each.revision
        self._seen = dict(sorted(self._seen.items())[-SEEN:])
        found = [self._platform.release(release) for release in sorted(self._open)]
        made = [release for release in found if waits(release)]
        self._open = {release.id for release in made}
        return made

    def release(self, release: int) -> ReleaseInfo:
        """See Platform."""
        return self._platform.release(release)

    def manifest(self, task: str, number: int) -> bytes:
        """See Platform."""
        return self._platform.manifest(task, number)

    def simulated(self, release: int, passed: bool, why: str) -> None:
        """See Platform."""
        self._platform.simulated(release, passed, why, WHO)

    def told(self, release: int, made: Any) -> None:
        """Logs a simulation; one without a verdict is in the release's history, too."""
        event("simulated", release=release, task=made.task, verdict=made.verdict, why=made.why)
        if made.verdict == "no data":
            self._platform.note(WHO, "simulate", f"release/{release}", made.why)


def _options(settings: Settings) -> dict[str, Any]:
    """What `Simulator` is told. Raises DeployError."""
    try:
        from walle_deploy.simulate.limits import Limits, read_limits
        from walle_deploy.simulate.recorded import logs_in, schema_named
    except ImportError as error:
        raise DeployError(
            f"simulations need more packages ({error}): pip install 'walle-deploy[pipeline]'"
        ) from error
    logs = [settings.path(name) for name in settings.simulate]
    logs_in(logs)
    schema_named(settings.simulate_schema or None)
    limits = settings.simulate_limits
    return {
        "logs": logs,
        "schema": settings.simulate_schema or None,
        "limits": read_limits(settings.path(limits)) if limits else Limits(),
    }


def _simulate(settings: Settings, lifeline: Connection) -> None:
    """What the process does."""
    from walle_deploy.simulate.runner import Simulator

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the terminal sends it to all; the first process ends this one
    set_up()
    os.nice(NICE)
    try:
        with _opened(settings) as (platform, store):
            waiting = Waiting(platform)
            with Simulator(waiting, store, tell=waiting.told, wait_s=LOOK_S, **_options(settings)):
                lifeline.poll(None)
    except DeployError as error:
        event("releases cannot be simulated", logging.ERROR, error=str(error))
        raise SystemExit(1) from error


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Platform, FileStore]]:
    base = Path(settings.folder)
    secret = folder.secret(base)
    store = FileStore.open(settings.store_url, secret)
    platform = Platform.open(
        settings.database_url,
        secret=secret,
        signer=AnswerSigner(folder.online_keys(base)["director"]),
        base_url=settings.base_url,
        prefix=store.prefix,
        gates=installed_gates(),
        poll=None,  # it answers no device
    )
    with platform:
        yield platform, store
