"""What the platform is told and what it answers: frozen values that JSON and MessagePack can hold."""

from __future__ import annotations

from typing import Any

import msgspec

from walle_deploy.release.explain import DeviceStanding, Standing


class DeviceReport(msgspec.Struct, frozen=True, array_like=True):
    """How a run of a task went on a device; on the wire ``[number, task, version, failed, values, why]``.

    Attributes:
        number: the device's own count of its reports; the same when it sends one again.
        task: that ran.
        version: of it, ``vN``; None for the built-in behaviour that runs without the task.
        failed: whether it failed.
        values: what was measured, for the metric gates.
        why: it failed.
    """

    number: int
    task: str
    version: str | None
    failed: bool
    values: dict[str, float] = {}
    why: str = ""


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a task.

    Attributes:
        number: of the version; as text it is ``v{number}``.
        commit: that its tag names.
        message: of its tag.
        signer: who signed the tag.
        created: Unix seconds.
        manifest: SHA-256 of its manifest.
        manifest_bytes: size of the manifest.
        files: how many it has.
        size: bytes of all files.
        exclusive: whether it has files for one device only.
        published: whether its image is.
        revoked: why it must not run; "" if it may.
        devices: that have it installed.
    """

    number: int
    commit: str = ""
    message: str = ""
    signer: str = ""
    created: float = 0.0
    manifest: str = ""
    manifest_bytes: int = 0
    files: int = 0
    size: int = 0
    exclusive: bool = False
    published: bool = False
    revoked: str = ""
    devices: int = 0


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A task.

    Attributes:
        name: of the task.
        policy: for whom it is.
        stable: number of the version that devices run when no release goes on; None: none yet.
        release: id of the release that goes on, paused ones too; None if there is none.
        retired: whether it was taken from all devices.
        created: Unix seconds.
        versions: newest first; empty where a list of tasks leaves them out.
    """

    name: str
    policy: dict[str, Any]
    stable: int | None = None
    release: int | None = None
    retired: bool = False
    created: float = 0.0
    versions: tuple[VersionInfo, ...] = ()


class FailureLine(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task failed on a device."""

    number: int
    at: float
    device: str
    version: str | None
    why: str


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody changed something.

    Attributes:
        id: grows with time.
        at: Unix seconds.
        who: the operator; "walle" for what happened by itself.
        action: one word or two, such as "approve".
        what: that was changed: ``task/NAME``, ``release/ID``, ``version/NAME/N``, ``segment/NAME``, ``token/NAME``.
        text: details and the reason.
    """

    id: int
    at: float
    who: str
    action: str
    what: str
    text: str = ""


class ReleaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A release.

    Attributes:
        id: by which it is called.
        task: whose.
        version: its number.
        previous: number of the version before; None: there was none.
        status: running, paused, finished, rolled back or revoked.
        created: Unix seconds.
        changed: Unix seconds.
        revision: grows with every change.
        reached: devices that have the version installed.
        heard: reports that came while it went on, also those that did not count.
        standing: where it stands and why.
        plan: as it was given; None in lists.
        history: what happened, oldest first; empty in lists.
        failures: the newest reasons of failed runs; empty in lists.
    """

    id: int
    task: str
    version: int
    previous: int | None
    status: str
    created: float
    changed: float
    revision: int
    reached: int
    heard: int
    standing: Standing
    plan: dict[str, Any] | None = None
    history: tuple[AuditLine, ...] = ()
    failures: tuple[FailureLine, ...] = ()


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A release at one time: devices that have it installed, and all reports so far that counted, by arm."""

    at: float
    reached: int
    treated: int
    treated_failed: int
    control: int
    control_failed: int


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A release changed: its line says what it is now."""

    release: int
    task: str
    status: str
    revision: int
    line: str


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A device as it described itself last.

    Attributes:
        id: of the device.
        seen: Unix seconds of that description.
        digest: of the profile, in hex.
        device: attributes of the device.
        user: attributes of its user.
        installed: task -> version.
    """

    id: str
    seen: float
    digest: str
    device: dict[str, Any]
    user: dict[str, Any]
    installed: dict[str, str]


class PolicyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of a policy, and whether the device meets it; None: its profile lacks what was asked."""

    label: str
    verdict: bool | None
    detail: str = ""
    parts: tuple[PolicyLine, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a device gets a version of a task, or none.

    Attributes:
        device: that was asked about.
        task: likewise.
        known: whether the device described itself; without that, it is taken for one without attributes.
        running: the version that it had then.
        wanted: the version that it should run; None for none.
        why: in one sentence.
        policy: of the task.
        release: id of the release that decides; None if none does.
        standing: the device in that release.
    """

    device: str
    task: str
    known: bool
    running: str | None
    wanted: str | None
    why: str
    policy: PolicyLine
    release: int | None = None
    standing: DeviceStanding | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The platform in numbers.

    Attributes:
        devices: that ever described themselves.
        tasks: that are not retired.
        releases: status -> how many.
        epoch: grows with every change of what may be offered.
        age: seconds since this worker last saw the epoch.
        quiet: digests that this worker knows to need nothing.
        waiting: writes of this worker that are not in the database yet.
    """

    devices: int
    tasks: int
    releases: dict[str, int]
    epoch: int
    age: float
    quiet: int
    waiting: int
