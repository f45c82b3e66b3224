"""What the server's answers hold; fields that are not listed are not read."""

from __future__ import annotations

from typing import Any

import msgspec

from walle_deploy.release.explain import Standing


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a task on the server.

    Attributes:
        number: of the version.
        commit: that its tag names.
        manifest: digest of its manifest.
        message: of its tag.
        published: whether its image is.
        revoked: why it must not run; "" if it may.
    """

    number: int
    manifest: str
    commit: str = ""
    message: str = ""
    published: bool = False
    revoked: str = ""


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A task on the server.

    Attributes:
        name: of the task.
        policy: for whom it is.
        stable: number of the version that devices run when no release goes on; None before the first one is finished.
        retired: whether it was taken from all devices.
        versions: of it.
    """

    name: str
    policy: dict[str, Any] = {}
    stable: int | None = None
    retired: bool = False
    versions: tuple[VersionInfo, ...] = ()

    def version(self, number: int) -> VersionInfo | None:
        """One of the versions; None if the server has none of this number."""
        return next((each for each in self.versions if each.number == number), None)


class ReleaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A release on the server.

    Attributes:
        id: by which it is called.
        task: whose.
        version: its number.
        created: Unix seconds.
        standing: where it stands and why.
        reached: devices that run the version; None if not counted.
        devices: that are known; None if not counted.
    """

    id: int
    task: str
    version: int = 0
    created: float = 0.0
    standing: Standing
    reached: int | None = None
    devices: int | None = None


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Image metadata to be signed: of which role, the bytes, and what is published of that role now."""

    role: str
    metadata: bytes
    before: bytes = b""


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A release changed."""

    release: int
    line: str = ""
