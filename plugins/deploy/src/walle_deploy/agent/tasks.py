"""The tasks on a device: which version of each runs, what came of its runs, and the way back from one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from walle_deploy.agent.contained import Run
from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.feeding import Feeding
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.outcomes import Outcomes
from walle_deploy.agent.runner import Item, More, Runner
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.slots import Slots
from walle_deploy.trust import Installed


class Tasks:
    """All tasks of one agent. Any thread may call any method.

    Args:
        slots: the installed versions.
        journal: keeps reports, and which runs are done.
        feeding: the pipeline whose events start tasks.
        settings: limits.
        tell: called with what happens.
        changed: called when other versions are installed.
        more: gives inputs that are no events.
        result: called with the task's name and the outputs of each run that went well.

    Attributes:
        outcomes: what comes of runs.
    """

    def __init__(
        self,
        slots: Slots,
        journal: Journal,
        feeding: Feeding,
        settings: Settings,
        tell: Callable[[Happening], None],
        changed: Callable[[], None] = lambda: None,
        more: More | None = None,
        result: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.outcomes = Outcomes(journal, tell)
        self._slots, self._journal, self._feeding, self._settings = slots, journal, feeding, settings
        self._tell, self._changed, self._more, self._result = tell, changed, more, result
        self._lock = threading.RLock()
        self._runners: dict[str, Runner] = {}
        self._confirmed: dict[str, str] = {}  # task -> digest of which it is known

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
        """Takes up what is installed, and opens the pipeline; a version that cannot be used gives way to the last good one.

        Raises WalleError if the pipeline cannot be opened.
        """
        with self._lock:  # until events are matched for it, no version gives way
            for task in self._slots.tasks():
                try:
                    loaded = self._intact(task)
                    good = self._slots.state(task).good
                except StoreError as error:
                    self._tell(Happening("problem", f"{task}: cannot be loaded: {error}", task))
                    continue
                if loaded is not None:
                    self._begin(loaded, tries=0 if good else self._settings.failures)
            self._feeding.open(self._flows)

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
        self._feeding.check(loaded)
        return loaded

    def _begin(self, loaded: Loaded, tries: int) -> None:
        settings = self._settings
        self._runners[loaded.task] = Runner(
            loaded, self._finished, self._more, settings.queue, settings.idle_s, settings.start_s, tries, settings.pause_s,
        )  # fmt: skip
        if self.outcomes.cloud is not None:
            self.outcomes.cloud.use(loaded)

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
                if self.outcomes.cloud is not None:
                    self.outcomes.cloud.use(loaded)
            self._trigger(loaded)
        self._changed()

    def _trigger(self, loaded: Loaded) -> None:
        pipeline = self._feeding.pipeline
        if pipeline is None:
            return
        from walle_deploy.agent.triggers import flow_of

        flow = flow_of(loaded, Work(loaded.task, self._runners, self._journal))
        if flow is not None:
            pipeline.replace(flow)
        elif loaded.task in pipeline.flows:
            pipeline.remove(loaded.task)
        self._feeding.snapshot()  # or a restart would show the new patterns events from before they were there

    def _flows(self) -> list[Any]:
        """Of all tasks that events start."""
        from walle_deploy.agent.triggers import flow_of

        made = [flow_of(one, Work(task, self._runners, self._journal)) for task, one in self.loaded.items()]
        return [flow for flow in made if flow is not None]

    def remove(self, task: str) -> None:
        """Ends a task and uninstalls it. Raises StoreError."""
        with self._lock:
            self._slots.remove(task)
            self._forget(task)
        self._changed()

    def _forget(self, task: str) -> None:
        runner = self._runners.pop(task, None)
        pipeline = self._feeding.pipeline
        if pipeline is not None and task in pipeline.flows:
            pipeline.remove(task)
            self._feeding.snapshot()
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
            to = "" if state.good and not state.last else self._leave(loaded)
        if not to:
            text = f"{task} {loaded.name}: {why}; there is no other version"
            self._tell(Happening("kept", text, task, loaded.name))
            return
        self._tell(
            Happening("reverted", f"{task}: from {loaded.name} back to {to}: {why}", task, loaded.name)
        )
        self.outcomes.record(task, loaded.name, True, {"reverted": 1.0}, f"back to {to}: {why}")

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
        runner = self._runners.get(loaded.task)
        streak = self.outcomes.of(loaded, item, run, runner.dropped if runner else 0)
        try:
            if not run.failed:
                self._confirm(loaded)
                self._give(loaded, run)
            elif streak >= self._settings.failures:
                self.back(loaded, f"{streak} failed runs in a row: {run.why}")
        except StoreError as error:
            self._tell(Happening("problem", f"{loaded.task}: {error}", loaded.task, loaded.name))

    def _give(self, loaded: Loaded, run: Run) -> None:
        """Hands the outputs to the application."""
        if self._result is not None:
            try:
                self._result(loaded.task, run.result)
            except Exception as error:  # the application's fault is none of the task
                text = f"{loaded.task}: the application failed at its result: {type(error).__name__}: {error}"
                self._tell(Happening("problem", text, loaded.task, loaded.name))

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
        self.outcomes.stop()
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
