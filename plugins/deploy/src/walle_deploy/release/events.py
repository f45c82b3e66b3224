"""What happens to a release, and what follows from it. Events carry the server's time (seconds); nothing here has a clock."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ArmName = Literal["treatment", "control", "outside"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened at a time, in seconds of the server's clock."""

    at: float


class Created(Event, frozen=True, kw_only=True):
    """A version is to be released by a plan; without a previous version, nothing runs before it or after a rollback."""

    version: str
    previous: str | None
    plan: dict[str, Any]


class Simulated(Event, frozen=True, kw_only=True):
    """The simulation ended."""

    passed: bool
    why: str = ""


class Tick(Event, frozen=True, kw_only=True):
    """Time passed."""


class Report(Event, frozen=True, kw_only=True):
    """A device tells how a run went; `number` is its own count of reports, the same when it repeats one.

    `arm` is that of its last offer; "outside" is a beta device without a control.
    """

    device: str
    number: int
    version: str | None
    arm: ArmName
    failed: bool
    values: dict[str, float] = {}


class Approve(Event, frozen=True, kw_only=True):
    """Somebody approves what the current stage has shown."""

    who: str
    role: str = ""


class Pause(Event, frozen=True, kw_only=True):
    """Nobody new gets the version, and no stage ends, until it is resumed."""

    who: str = ""


class Resume(Event, frozen=True, kw_only=True):
    """Ends a pause."""

    who: str = ""


class Rollback(Event, frozen=True, kw_only=True):
    """Everybody returns to the previous version; final."""

    who: str
    why: str = ""


class Revoke(Event, frozen=True, kw_only=True):
    """As a rollback, of a version that must not run anywhere, a finished release's too."""

    who: str = ""
    why: str = ""


class Admit(Event, frozen=True, kw_only=True):
    """A device asks what it should run; `running` is what it runs, `beta` whether it meets the beta policy."""

    device: str
    bucket: int
    running: str | None = None
    beta: bool = False


Later = Simulated | Tick | Report | Approve | Pause | Resume | Rollback | Revoke | Admit
AnyEvent = Created | Later


class Effect(msgspec.Struct, frozen=True, tag=True):
    """Something that the platform has to do, or tell."""


class StageChanged(Effect, frozen=True):
    """A stage began."""

    number: int
    title: str


class Finished(Effect, frozen=True):
    """The comparison after full ended; the version is everybody's."""


class RolledBack(Effect, frozen=True):
    """The version is offered no more; the previous one is."""

    why: str
    version: str
    previous: str | None


class Held(Effect, frozen=True):
    """Why the release does not go on; told when the reason changes."""

    why: str


class Ignored(Effect, frozen=True):
    """The event changed nothing."""

    why: str


class Offer(Effect, frozen=True):
    """What a device should run.

    Args:
        version: to run; None for nothing.
        arm: in the comparison, or "outside" it.
        why: for people.
        admits: whether this takes one of the minute's admissions.
    """

    version: str | None
    arm: ArmName
    why: str
    admits: bool = False
