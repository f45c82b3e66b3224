"""One part of a simulation: some logs, replayed and run by one thread. Parts do not depend on each other or on what runs them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any

import attrs

from walle_deploy.simulate.compared import Pairs
from walle_deploy.simulate.counts import Arm, Example, packed
from walle_deploy.simulate.limits import Limits
from walle_deploy.simulate.matches import Replay, kinds_of
from walle_deploy.simulate.prepared import NEW, OLD, Prepared, in_folder, prepared
from walle_deploy.simulate.recorded import Damages, Log, SchemaName, schema_named, schema_of
from walle_deploy.simulate.running import COSTLY, Runs, Stop
from walle_deploy.task.dryrun import START_S
from walle_deploy.task.events import plain_events
from walle_deploy.task.trigger import compile_trigger

SAMPLES = 16  # runs that are made again
KEPT = 1 << 20  # bytes of a match or result that is kept for that

Files = Mapping[str, bytes]


@attrs.frozen
class Job:
    """What a part is made of; values that any kind of executor can send.

    Attributes:
        number: of the part.
        logs: that it replays.
        new: the version's files, or their folder on this machine.
        old: the baseline, likewise; None: there is none.
        schema: of the events.
        limits: of which the patience counts.
        seed: chooses the runs that are made again.
        start_s: seconds that a process may take to start.
    """

    number: int
    logs: tuple[Log, ...]
    new: Files | Path
    old: Files | Path | None
    schema: SchemaName
    limits: Limits
    seed: int = 0
    start_s: float = START_S


@attrs.frozen
class Sample:
    """A run that went well, to be made again: the match and the result, packed."""

    order: bytes
    events: bytes
    result: bytes


@attrs.define
class Part:
    """What came of a part; those of later parts can be added.

    Attributes:
        new: runs of the version.
        old: runs of the baseline.
        pairs: matches that both ran.
        logs, size, events: how many were read: logs, bytes, events.
        damages: how many places of the logs could not be read.
        told: the first of them.
        samples: runs to be made again.
        given_up: why the part ended before its logs; "" if it did not.
        unpaired: why the baseline was not run to the end.
    """

    new: Arm = attrs.field(factory=Arm)
    old: Arm = attrs.field(factory=Arm)
    pairs: Pairs = attrs.field(factory=Pairs)
    logs: int = 0
    size: int = 0
    events: int = 0
    damages: int = 0
    told: list[str] = attrs.field(factory=list)
    samples: list[Sample] = attrs.field(factory=list)
    given_up: str = ""
    unpaired: str = ""

    def merge(self, later: Part) -> None:
        """Adds a later part."""
        self.new.merge(later.new)
        self.old.merge(later.old)
        self.pairs.merge(later.pairs)
        for name in ("logs", "size", "events", "damages"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.told = (self.told + later.told)[:10]
        self.samples = sorted(self.samples + later.samples, key=lambda one: one.order)[:SAMPLES]
        self.given_up = self.given_up or later.given_up
        self.unpaired = self.unpaired or later.unpaired

    def keep(self, order: bytes, events: list[dict[str, Any]], result: Mapping[str, Any]) -> None:
        """Keeps a run to be made again, if it is one of the SAMPLES first in `order`."""
        if len(self.samples) < SAMPLES or order < self.samples[-1].order:
            match, answer = packed(events, KEPT), packed(result, KEPT)
            if match and answer:
                self.samples = sorted(
                    [*self.samples, Sample(order, match, answer)], key=lambda one: one.order
                )
                del self.samples[SAMPLES:]


class Worker:
    """Runs one job.

    Args:
        job: the part.
        stop: ends it.
    """

    def __init__(self, job: Job, stop: Stop) -> None:
        self.job, self.stop, self.part = job, stop, Part()

    def work(self) -> Part:
        """The finished part. Raises Interrupted, and DeployError for files that make no task."""
        job = self.job
        with ExitStack() as stack:
            new = stack.enter_context(_ready(NEW, job.new))
            runs = stack.enter_context(Runs(new, job.start_s, self.stop))
            old_runs = None
            if job.old is not None:
                old = stack.enter_context(_ready(OLD, job.old))
                old_runs = stack.enter_context(Runs(old, job.start_s, self.stop))
            patterns = compile_trigger(new.config.trigger)
            base = schema_named(job.schema)
            for log in job.logs:
                damages = Damages()
                replay = Replay(
                    new.config.task.name, patterns, log, schema_of(log, base, kinds_of(patterns)), damages
                )
                with closing(iter(replay)) as matches:
                    for number, match in enumerate(matches):
                        old_runs = self._match(log, number, match, runs, old_runs)
                        if self.part.given_up:
                            break
                self.part.logs += 1
                self.part.size += log.size
                self.part.events += replay.events
                self.part.damages += damages.count
                self.part.told = (self.part.told + damages.texts)[:10]
                if self.part.given_up:
                    break
        return self.part

    def _match(self, log: Log, number: int, match: Any, runs: Runs, old_runs: Runs | None) -> Runs | None:
        """Runs one match by the versions; returns the old one's runs, None if they are not worth the time any more."""
        part, events = self.part, plain_events(match.span)
        example = Example(log.name, number, match.position, match.key, match.start, match.time)
        old_first = number % 2 == 1  # neither is always the one that runs first
        old = old_runs.run(events) if old_runs is not None and old_first else None
        new = runs.run(events)
        if old_runs is not None and not old_first:
            old = old_runs.run(events)
        part.new.add(new, example, packed(events, KEPT) if new.failed else b"", runs.version.config)
        if not new.failed:
            order = blake2b(f"{self.job.seed}/{log.name}/{number}".encode(), digest_size=8).digest()
            part.keep(order, events, new.result)
        elif new.kind in COSTLY and (count := part.new.of_kind(*COSTLY)) >= self.job.limits.patience:
            part.given_up = (
                f"{count} runs ended their process or took too long, the last at {example}: {new.why}"
            )
        if old is None or old_runs is None:
            return None
        part.old.add(old, example, b"", old_runs.version.config)
        part.pairs.add(new, old, runs.version.config)
        if old.failed and part.old.of_kind(*COSTLY) >= self.job.limits.patience:
            part.unpaired = f"the baseline was not run further after {example}: {old.why}"
            return None
        return old_runs


def work(job: Job, stop: Stop | None = None) -> Part:
    """Runs a part; in any process."""
    return Worker(job, stop or Stop()).work()


def _ready(side: str, version: Files | Path) -> AbstractContextManager[Prepared]:
    return nullcontext(in_folder(side, version)) if isinstance(version, Path) else prepared(side, version)
