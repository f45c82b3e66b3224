"""The tasks on a device: which version of each runs, what came of its runs, and the way back from one that fails."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.agent.cloud import CloudSide, Sending
from walle_deploy.agent.contained import Run
from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.runner import Item, More, Runner
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.slots import Slots
from walle_deploy.trust import Installed

RETRY_S = 5.0  # before a report that the disk did not take is tried again


class Tasks:
    """All tasks of one agent. Any thread may call any method.

    Args:
        slots: the installed versions.
        journal: keeps reports, and which runs are done.
        settings: limits.
        tell: called with what happens.
        changed: called when other versions are installed.
        more: gives inputs that are no events.
        result: called with the task's name and the outputs of each run that went well.
        check: raises DeployError for a version that this application cannot run.

    Attributes:
        pipeline: of walle_pipeline, whose events start tasks; None if there is none.
        cloud: takes features and samples; None: they are dropped.
        snapshot: keeps the pipeline's state.
    """

    def __init__(
        self,
        slots: Slots,
        journal: Journal,
        settings: Settings,
        tell: Callable[[Happening], None],
        changed: Callable[[], None] = lambda: None,
        more: More | None = None,
        result: Callable[[str, Mapping[str, Any]], None] | None = None,
        check: Callable[[Loaded], None] = lambda loaded: None,
    ) -> None:
        self.pipeline: Any = None
        self.cloud: CloudSide | None = None
        self.snapshot: Callable[[], Any] = lambda: None
        self._slots, self._journal, self._settings = slots, journal, settings
        self._tell, self._changed, self._more, self._result, self._check = tell, changed, more, result, check
        self._lock = threading.RLock()
        self._runners: dict[str, Runner] = {}
        self._confirmed: dict[str, str] = {}  # task -> digest of which it is known
        self._stopping = threading.Event()

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> dict[str, Loaded]:
        """Name -> version that runs."""
        return {task: runner.loaded for task, runner in list(self._runners.items())}

    @property
    def installed(self) -> dict[str, Installed]:
        """As the judgement of answers wants it."""
        return {task: loaded.installed for task, loaded in self.loaded.items()}

    def runner(self, task: str) -> Runner:
        """The runs of a task. Raises AgentError if it is not installed."""
        try:
            return self._runners[task]
        except KeyError:
            there = ", ".join(self._runners) or "none"
            raise AgentError(f"no task {task!r} is installed; there are {there}") from None

    def start(self) -> None:
        """Takes up what is installed; a version that cannot be used gives way to the last good one."""
        try:
            names = self._slots.tasks()
        except StoreError as error:
            raise AgentError(f"the installed tasks cannot be read: {error}") from error
        for task in names:
            try:
                loaded = self._intact(task)
                good = self._slots.state(task).good
            except StoreError as error:
                self._tell(Happening("problem", f"{task}: cannot be loaded: {error}", task))
                continue
            if loaded is not None:
                self._begin(loaded, tries=0 if good else self._settings.failures)

    def _intact(self, task: str) -> Loaded | None:
        """The current version, or the last good one if that cannot be used. Raises StoreError."""
        while (version := self._slots.load(task)) is not None:
            try:
                return self.usable(Loaded.of(version))
            except DeployError as error:
                self._tell(Happening("problem", str(error), task, version.manifest.version))
                self._slots.quarantine(task, version.digest)
        return None

    def usable(self, loaded: Loaded) -> Loaded:
        """The version itself. Raises DeployError if this application cannot run it."""
        self._check(loaded)
        return loaded

    def _begin(self, loaded: Loaded, tries: int) -> None:
        settings = self._settings
        self._runners[loaded.task] = Runner(
            loaded, self._finished, self._more, settings.queue, settings.idle_s, settings.start_s, tries, settings.pause_s,
        )  # fmt: skip
        if self.cloud is not None:
            self.cloud.use(loaded)

    # -- changes ------------------------------------------------------------------------------------------------------

    def switch(self, loaded: Loaded, tries: int | None = None) -> None:
        """Runs another version, which is the current one of the slots, from the next run on."""
        tries = self._settings.failures if tries is None else tries
        with self._lock:
            runner = self._runners.get(loaded.task)
            if runner is None:
                self._begin(loaded, tries)
            else:
                runner.switch(loaded, tries)
                if self.cloud is not None:
                    self.cloud.use(loaded)
            if self.pipeline is not None:
                self._trigger(loaded)
        self._changed()

    def _trigger(self, loaded: Loaded) -> None:
        from walle_deploy.agent.triggers import flow_of

        flow = flow_of(loaded, self.work(loaded.task))
        if flow is not None:
            self.pipeline.replace(flow)
        elif loaded.task in self.pipeline.flows:
            self.pipeline.remove(loaded.task)
        self.snapshot()  # or a restart would show the new patterns events from before they were there

    def flows(self) -> list[Any]:
        """Of all tasks that events start."""
        from walle_deploy.agent.triggers import flow_of

        made = [flow_of(loaded, self.work(task)) for task, loaded in self.loaded.items()]
        return [flow for flow in made if flow is not None]

    def work(self, task: str) -> Work:
        """Where the matches of a task go."""
        return Work(task, self._runners, self._journal)

    def remove(self, task: str) -> None:
        """Ends a task and uninstalls it. Raises StoreError."""
        with self._lock:
            self._slots.remove(task)
            self._forget(task)
        self._changed()

    def _forget(self, task: str) -> None:
        runner = self._runners.pop(task, None)
        if self.pipeline is not None and task in self.pipeline.flows:
            self.pipeline.remove(task)
        if runner is not None:
            runner.stop()

    def back(self, loaded: Loaded, why: str) -> None:
        """Leaves a version for the last good one, for good; stays if it is not current, or works and has none before it.

        Raises StoreError if the disk takes nothing: then it stays too.
        """
        task = loaded.task
        with self._lock:
            state = self._slots.state(task)
            if state.current != loaded.digest:
                return
            if state.good and not state.last:
                text = f"{task} {loaded.name}: {why}; there is no other version"
                self._tell(Happening("kept", text, task, loaded.name))
                return
            to = self._leave(loaded)
        self._tell(
            Happening("reverted", f"{task}: from {loaded.name} back to {to}: {why}", task, loaded.name)
        )
        self._record(task, loaded.name, True, {"reverted": 1.0}, f"back to {to}: {why}")

    def revoked(self, loaded: Loaded, why: str) -> None:
        """Leaves a version that people have revoked. Raises StoreError."""
        with self._lock:
            to = self._leave(loaded)
        text = f"{loaded.task}: from {loaded.name} back to {to}: it is revoked: {why}"
        self._tell(Happening("reverted", text, loaded.task, loaded.name))

    def _leave(self, loaded: Loaded) -> str:
        """Marks the version as bad; which one runs then."""
        self._slots.quarantine(loaded.task, loaded.digest)
        other = self._intact(loaded.task)
        if other is None:
            self._forget(loaded.task)
            self._changed()
            return "no version"
        self.switch(other, tries=0)
        return other.name

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _finished(self, loaded: Loaded, item: Item | None, run: Run) -> None:
        """What came of a run, or of a start that failed; in the thread of the task."""
        task, name = loaded.task, item.name if item else ""
        values: dict[str, float] = {"ms": run.ms, "memory_mb": run.memory_mb} if run.started else {}
        if runner := self._runners.get(task):
            values |= {"dropped": float(runner.dropped)} if runner.dropped else {}
        facts: dict[str, Any] = {}
        if item is not None and not run.failed:
            sending = self._send(loaded, item, run, values)
            values |= sending.values
            facts |= sending.facts
        streak = self._streak(loaded, facts, failed=run.failed)
        self._record(task, loaded.name, run.failed, values, run.why, name, facts)
        kind, text = ("failed", run.why) if run.failed else ("ran", f"{run.ms:.1f} ms")
        self._tell(Happening(kind, f"{task} {loaded.name}: {text}", task, loaded.name, values))
        try:
            if not run.failed:
                self._confirm(loaded)
                if self._result is not None:
                    self._result(task, run.result)
            elif streak >= self._settings.failures:
                self.back(loaded, f"{streak} failed runs in a row: {run.why}")
        except StoreError as error:
            self._tell(Happening("problem", f"{task}: {error}", task, loaded.name))

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

    def _record(
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
            self._record(task, version, True, {"refused": 1.0}, why, facts={fact: digest})

    def _confirm(self, loaded: Loaded) -> None:
        if self._confirmed.get(loaded.task) != loaded.digest:
            self._slots.confirm(loaded.task, loaded.digest)
            self._confirmed[loaded.task] = loaded.digest

    # -- the end ------------------------------------------------------------------------------------------------------

    def idle(self, timeout: float) -> bool:
        """Waits until no run is left to be made, at most `timeout` seconds; whether that came."""
        deadline = time.monotonic() + timeout
        return all(runner.idle(deadline - time.monotonic()) for runner in list(self._runners.values()))

    def stop(self) -> None:
        """Ends all runs; what is installed stays."""
        self._stopping.set()
        runners = list(self._runners.values())
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.join()


class Work:
    """Where the matches of one task go; a match whose run was recorded is not run again."""

    def __init__(self, task: str, runners: Mapping[str, Runner], journal: Journal) -> None:
        self._task, self._runners, self._journal = task, runners, journal

    def offer(self, item: Item) -> None:
        """See `triggers.Work`."""
        runner = self._runners.get(self._task)
        if runner is not None and not self._journal.is_done(item.name):
            runner.offer(item)

    def waiting(self) -> list[Item]:
        """See `triggers.Work`."""
        runner = self._runners.get(self._task)
        return runner.waiting() if runner is not None else []
