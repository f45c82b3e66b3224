"""The pipeline of an agent: made from the tasks' flows, fed by the application, told the time, kept over restarts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.settings import Happening

Make = Callable[[list[Any]], Any]  # flows -> a walle_pipeline Device or Pipeline


class Feeding:
    """Any thread may call any method.

    Args:
        folder: of the log and snapshots of a Device that is made here.
        schema: kinds of the application's events; None: those that every application has.
        make: makes another Device, or a Pipeline, which is then the caller's to close.
        tick_s: how often it is told the time; 0: never.
        tell: called with what happens.

    Attributes:
        target: what is fed; None before `open`, and without walle_pipeline.
    """

    def __init__(
        self, folder: Path, schema: Any, make: Make | None, tick_s: float, tell: Callable[[Happening], None]
    ) -> None:
        self.target: Any = None
        self._folder, self._schema, self._make, self._tick_s, self._tell = folder, schema, make, tick_s, tell
        self._closed = threading.Event()
        self._here = find_spec("walle_pipeline") is not None

    @property
    def pipeline(self) -> Any:
        """Where flows are added and removed; None if there is none."""
        return getattr(self.target, "pipeline", self.target)

    def check(self, loaded: Loaded) -> None:
        """Raises TaskError for a version whose patterns cannot work with the application's events."""
        if self._here:
            from walle_pipeline.events import Schema

            from walle_deploy.agent.triggers import check

            check(loaded, self._schema or Schema.BASIC)

    def open(self, flows: Callable[[], list[Any]]) -> None:
        """Makes the pipeline of `flows()`; what waited before a restart is offered to them. Raises WalleError."""
        if not self._here:
            text = "events start no tasks without the data pipeline: pip install walle-pipeline"
            self._tell(Happening("problem", text))
            return
        if self._make is not None:
            self.target = self._make(flows())
        else:
            from walle_pipeline import Device

            self.target = Device(self._folder, *flows(), schema=self._schema)
        if self._tick_s:
            threading.Thread(target=self._tick, name="walle-clock", daemon=True).start()

    def feed(self, events: Iterable[Any]) -> None:
        """Takes events. Raises as `walle_pipeline.Device.feed`; AgentError without a pipeline."""
        if self.target is None:
            raise AgentError(
                "there is no pipeline: the agent was not started, or walle-pipeline is not installed"
            )
        self.target.feed(events)

    def finish(self) -> None:
        """Tells that no event follows. Raises as `feed`."""
        if self.target is not None:
            self.target.finish()

    def snapshot(self) -> None:
        """Keeps the state, where the target can; a failure is told, and made up for by the next one."""
        if hasattr(self.target, "position"):
            try:
                self.target.snapshot()
            except WalleError as error:
                self._tell(Happening("problem", f"the pipeline's state is not kept: {error}"))

    def close(self) -> None:
        """Ends what was made here."""
        self._closed.set()
        if self._make is None and self.target is not None:
            self.target.close()

    def _tick(self) -> None:
        while not self._closed.wait(self._tick_s):
            with contextlib.suppress(WalleError):  # the next event meets it too
                deadline = self.pipeline.deadline
                if deadline is not None and deadline <= time.time() * 1000:
                    self.target.advance()
