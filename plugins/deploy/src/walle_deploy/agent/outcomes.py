"""What comes of runs: reports in the journal, features and samples for the cloud, and how often a version failed in a row."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.agent.cloud import CloudSide, Sending
from walle_deploy.agent.contained import Run
from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.runner import Item
from walle_deploy.agent.settings import Happening

RETRY_S = 5.0  # before a report that the disk did not take is tried again


class Outcomes:
    """Any thread may call any method.

    Args:
        journal: keeps reports, and which runs are done.
        tell: called with what happens.

    Attributes:
        cloud: takes features and samples; None: they are dropped.
    """

    def __init__(self, journal: Journal, tell: Callable[[Happening], None]) -> None:
        self.cloud: CloudSide | None = None
        self._journal, self._tell = journal, tell
        self._stopping = threading.Event()

    def of(self, loaded: Loaded, item: Item | None, run: Run, dropped: int = 0) -> int:
        """Keeps what came of a run, or without an item of a start; how often the version has now failed in a row."""
        values: dict[str, float] = {"ms": run.ms, "memory_mb": run.memory_mb} if run.started else {}
        if dropped:
            values["dropped"] = float(dropped)
        facts: dict[str, Any] = {}
        if item is not None and not run.failed:
            sending = self._send(loaded, item, run, values)
            values |= sending.values
            facts |= sending.facts
        streak = self._streak(loaded, facts, failed=run.failed)
        self.record(loaded.task, loaded.name, run.failed, values, run.why, item.name if item else "", facts)
        kind, text = ("failed", run.why) if run.failed else ("ran", f"{run.ms:.1f} ms")
        self._tell(Happening(kind, f"{loaded.task} {loaded.name}: {text}", loaded.task, loaded.name, values))
        return streak

    def record(
        self,
        task: str,
        version: str | None,
        failed: bool,
        values: Mapping[str, float],
        why: str = "",
        name: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Keeps a report; where the disk takes nothing, it is tried until it does, or the agent ends."""
        while True:
            try:
                self._journal.record(task, version, failed, values, why, name, facts)
            except AgentError as error:
                self._tell(Happening("problem", f"{task}: a report waits for the disk: {error}", task))
                if self._stopping.wait(RETRY_S):
                    return
            else:
                return

    def refused(self, task: str, version: str, digest: str, why: str) -> None:
        """Reports, once, that an offered version is not installed because of itself."""
        fact = f"refused/{task}"
        if self._journal.get(fact) != digest:
            self.record(task, version, True, {"refused": 1.0}, why, facts={fact: digest})

    def stop(self) -> None:
        """What waits for the disk is given up."""
        self._stopping.set()

    def _send(self, loaded: Loaded, item: Item, run: Run, values: dict[str, float]) -> Sending:
        if self.cloud is not None:
            try:
                return self.cloud.send(loaded, item, run, item.name or f"{loaded.task}/{uuid.uuid4().hex}")
            except WalleError as error:
                values["unsent"] = 1.0
                self._tell(
                    Happening("problem", f"{loaded.task}: not sent: {error}", loaded.task, loaded.name)
                )
        return Sending([], {}, {})

    def _streak(self, loaded: Loaded, facts: dict[str, Any], *, failed: bool) -> int:
        """How many runs of the version have failed in a row, this one included; put into `facts` if it has changed."""
        fact = f"failed/{loaded.task}"
        digest, count = self._journal.get(fact, ("", 0))
        before = count if digest == loaded.digest else 0
        after = before + 1 if failed else 0
        if after != before:
            facts[fact] = (loaded.digest, after)
        return after
