"""The deployment platform as one object on a database: tasks, releases, devices and what is asked about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from walle_deploy.profile import Profile
from walle_deploy.release.gates import GateRegistry
from walle_deploy.server.types import (
    AuditLine,
    Changed,
    Counts,
    DeviceInfo,
    DeviceReport,
    Explanation,
    Point,
    ReleaseInfo,
    TaskInfo,
    VersionInfo,
)
from walle_deploy.trust.answer import AnswerSigner

POLL_S = 0.1
LEASE_S = 0.5
EVERYONE: Mapping[str, Any] = {"everyone": True}


class Platform:
    """See `open`. Every method may be called from any thread, and is one transaction.

    Refusals are DeployErrors: MissingError, ConflictError, TooLargeError, BusyError of `server.refusals`, PolicyError,
    ReleaseError.
    """

    @classmethod
    def open(
        cls,
        url: str = "sqlite:///walle.db",
        *,
        secret: bytes,
        signer: AnswerSigner,
        base_url: str,
        clock: Callable[[], float] = time.time,
        gates: GateRegistry | None = None,
        kinds: Any = None,
        prefix: Callable[[str], str] | None = None,
        poll: float | None = POLL_S,
        lease: float = LEASE_S,
    ) -> Self:
        """Opens a worker's platform on a database, which is made if it is not there.

        Args:
            url: ``sqlite:///path`` or ``postgresql://…``.
            secret: of the server; device tokens are made with it.
            signer: of answers.
            base_url: under which devices find files/, devices/ and deltas/.
            clock: Unix seconds; may jump.
            gates: kinds of gates that plans may have; this package's if None.
            kinds: kinds of policies; those of the installed plugins if None.
            prefix: ``FileStore.prefix``: where the exclusive files of a device are; None: no version may have any.
            poll: seconds between two looks at the epoch; None: only when `refresh` is called.
            lease: seconds after a look for which this worker may offer; all workers of a database have the same.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Writes what waits, and ends the threads. Calls that come later are refused."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # tasks and versions

    def add_task(self, name: str, policy: Mapping[str, Any] = EVERYONE, who: str = "") -> None:
        """A new task for those whom `policy` means. Raises ConflictError if there is one of this name, PolicyError."""
        raise NotImplementedError

    def set_policy(self, name: str, policy: Mapping[str, Any], who: str = "") -> None:
        """For whom a task is from now on."""
        raise NotImplementedError

    def retire(self, name: str, who: str = "") -> None:
        """Takes a task from all devices, and ends its release."""
        raise NotImplementedError

    def set_segment(self, name: str, policy: Mapping[str, Any] | None, who: str = "") -> None:
        """Gives a policy a name; None takes it away. Raises ConflictError while it is used."""
        raise NotImplementedError

    def segments(self) -> dict[str, Any]:
        """Name -> policy."""
        raise NotImplementedError

    def add_version(
        self,
        task: str,
        number: int,
        *,
        commit: str,
        message: str,
        signer: str,
        manifest: bytes,
        who: str = "",
    ) -> VersionInfo:
        """A version, whose tag the caller has verified; an equal one may be added again. Raises ConflictError."""
        raise NotImplementedError

    def manifest(self, task: str, number: int) -> bytes:
        """The manifest that `add_version` was given."""
        raise NotImplementedError

    def published(self, task: str, number: int, who: str = "") -> None:
        """Notes that the version's image is published."""
        raise NotImplementedError

    # releases

    def create_release(self, task: str, number: int, plan: Mapping[str, Any], who: str = "") -> int:
        """Begins to release a version in place of the task's stable one; returns the release's id.

        Raises ConflictError if a release of the task goes on, or the version was revoked or rolled back.
        """
        raise NotImplementedError

    def simulated(self, release: int, passed: bool, why: str = "", who: str = "") -> None:
        """Tells how the simulation ended."""
        raise NotImplementedError

    def approve(self, release: int, who: str, role: str = "", why: str = "") -> None:
        """Approves what the current stage has shown."""
        raise NotImplementedError

    def pause(self, release: int, who: str, why: str = "") -> None:
        """Nobody new gets the version; holds for all workers when it returns."""
        raise NotImplementedError

    def resume(self, release: int, who: str, why: str = "") -> None:
        """Ends a pause."""
        raise NotImplementedError

    def rollback(self, release: int, who: str, why: str = "") -> None:
        """Devices go back to the version before; no worker offers the version any more when it returns."""
        raise NotImplementedError

    def revoke(self, task: str, number: int, who: str, why: str = "") -> None:
        """The version must not run anywhere, ever; no worker offers it any more when it returns."""
        raise NotImplementedError

    def tick(self) -> float:
        """Lets time pass for the releases that wait for it; returns the seconds until it wants to be called again."""
        raise NotImplementedError

    # devices

    def device_token(self, device: str) -> str:
        """The token of a device: the same for ever with the same secret."""
        raise NotImplementedError

    def check_digest(self, digest: bytes) -> bool:
        """Whether nothing is new for the profile with this digest. From memory; False: send the profile to `check`."""
        raise NotImplementedError

    def check(self, profile: Profile, nonce: bytes = b"") -> bytes | None:
        """The signed answer of what the device should run; None if nothing is new. May wait for a commit.

        Raises BusyError while this worker does not know what may be offered.
        """
        raise NotImplementedError

    def begin_check(self, profile: Profile, nonce: bytes = b"") -> bytes | Future[bytes | None] | None:
        """As `check`, without waiting: a Future where an admission under a budget has to be committed first."""
        raise NotImplementedError

    def report(self, device: str, reports: Sequence[DeviceReport]) -> None:
        """Takes a device's reports; they are durable when it returns. Raises BusyError, TooLargeError."""
        raise NotImplementedError

    def begin_report(self, device: str, reports: Sequence[DeviceReport]) -> Future[None]:
        """As `report`, without waiting: the Future ends when they are durable."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Looks at the epoch now, and takes over what changed."""
        raise NotImplementedError

    def health(self) -> str:
        """Why this worker cannot serve; "" if it can."""
        raise NotImplementedError

    # asking

    def tasks(self, limit: int = 1000, after: str = "") -> list[TaskInfo]:
        """Tasks in the order of their names, without their versions."""
        raise NotImplementedError

    def task(self, name: str) -> TaskInfo:
        """A task with its versions, newest first. Raises MissingError."""
        raise NotImplementedError

    def releases(
        self, task: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[ReleaseInfo]:
        """Releases, newest first, without plan, history and failures; `before`: with a smaller id."""
        raise NotImplementedError

    def release(self, release: int) -> ReleaseInfo:
        """A release with all that is known. Raises MissingError."""
        raise NotImplementedError

    def curve(self, release: int) -> list[Point]:
        """Coverage and failures over time, oldest first; at most 2,000 points."""
        raise NotImplementedError

    def changed(self, known: Mapping[int, int]) -> list[Changed]:
        """Of the releases that go on or ended lately, those whose revision is not in `known` (id -> revision)."""
        raise NotImplementedError

    def devices(self, prefix: str = "", after: str = "", limit: int = 100) -> list[DeviceInfo]:
        """Devices in the order of their ids."""
        raise NotImplementedError

    def device(self, device: str) -> DeviceInfo:
        """A device. Raises MissingError."""
        raise NotImplementedError

    def explain(self, device: str, task: str) -> Explanation:
        """Why a device gets a task, or does not. Raises MissingError for a task that is not there."""
        raise NotImplementedError

    def audit(
        self, limit: int = 100, before: int | None = None, text: str = "", what: str = ""
    ) -> list[AuditLine]:
        """Who changed what, newest first; `before`: with a smaller id, `text`: contained in it, `what`: changed thing."""
        raise NotImplementedError

    def note(self, who: str, action: str, what: str, text: str = "") -> None:
        """Adds a line to the audit log, for what is changed outside of this object."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """The platform in numbers."""
        raise NotImplementedError
