"""The deployment platform as one object on a database: tasks, releases, devices and what is asked about them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from walle_deploy.errors import DeployError
from walle_deploy.policies.compiling import installed_kinds
from walle_deploy.profile import Profile
from walle_deploy.release.gates import GateRegistry, default_gates
from walle_deploy.server.auditing import note
from walle_deploy.server.auth import device_token
from walle_deploy.server.batch import Batch, Reports
from walle_deploy.server.checks import Begun, Checks, Unsigned
from walle_deploy.server.counters import Counters, DatabaseCounters, MachineCounters
from walle_deploy.server.database import Database
from walle_deploy.server.explaining import Explaining
from walle_deploy.server.inputs import checked, device_id
from walle_deploy.server.loading import Loader
from walle_deploy.server.queries import Queries
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.releases import Releases
from walle_deploy.server.steady import steady
from walle_deploy.server.tasks import Tasks
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
from walle_deploy.server.watching import Watch
from walle_deploy.server.writer import Writer
from walle_deploy.trust.answer import AnswerSigner

POLL_S = 0.1
LEASE_S = 0.5
SHOWN_S = 1.0  # that a question about devices waits for what they have told this worker
SECRET = 16  # bytes, at least
BASE_URL = r"[\x21-\x7e]{1,128}"  # with that of exclusive files, it fits into an answer
EVERYONE: Mapping[str, Any] = {"everyone": True}


class Platform:
    """See `open`. Every method may be called from any thread, and is one transaction; what is asked about
    a device or a task has what devices told this worker before.

    Attributes:
        database: of all workers.

    Refusals are DeployErrors: MissingError, ConflictError, TooLargeError, BusyError of `server.refusals`, PolicyError,
    ReleaseError.
    """

    def __init__(
        self,
        database: Database,
        secret: bytes,
        signer: AnswerSigner,
        base_url: str,
        clock: Callable[[], float],
        gates: GateRegistry | None,
        kinds: Any,
        prefix: Callable[[str], str] | None,
        *,
        poll: float | None,
        lease: float,
    ) -> None:
        if len(secret) < SECRET or not re.fullmatch(BASE_URL, base_url):
            raise DeployError(
                f"a platform needs a secret of at least {SECRET} bytes, and a base URL of 1 to 128 visible ASCII characters"
            )
        gates = gates if gates is not None else default_gates()
        kinds = kinds if kinds is not None else installed_kinds()
        self.database, self._secret, self._clock, self._lease = database, secret, clock, lease
        self._counters: Counters = (
            DatabaseCounters(database) if database.postgres else MachineCounters(database, clock)
        )
        self._watch = Watch(Loader(database, base_url, kinds, prefix), poll, lease, self._counters.keep)
        batch = Batch(database, gates, clock, lambda: self._watch.snapshot)
        self._writer = Writer(batch.write, self._forget)
        self._checks = Checks(self._watch, self._writer, signer, self._counters, clock)
        self._tasks = Tasks(database, clock, gates, kinds, exclusive=prefix is not None)
        self._releases = Releases(database, clock, gates)
        self._queries = Queries(database, gates)
        self._explaining = Explaining(database, self._queries, kinds)

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
        return cls(
            Database.open(url), secret, signer, base_url, clock, gates, kinds, prefix, poll=poll, lease=lease
        )

    def close(self) -> None:
        """Writes what waits, and ends the threads. Calls that come later are refused."""
        self._writer.close()
        self._watch.close()
        self._counters.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # tasks and versions

    def add_task(self, name: str, policy: Mapping[str, Any] = EVERYONE, who: str = "") -> None:
        """A new task for those whom `policy` means. Raises ConflictError if there is one of this name, PolicyError."""
        self._tasks.add(name, policy, who)
        self._taken_over()

    def set_policy(self, name: str, policy: Mapping[str, Any], who: str = "") -> None:
        """For whom a task is from now on."""
        self._tasks.set_policy(name, policy, who)
        self._taken_over()

    def retire(self, name: str, who: str = "") -> None:
        """Takes a task from all devices, and ends its release."""
        self._tasks.retire(name, who)
        self._everywhere()

    def set_segment(self, name: str, policy: Mapping[str, Any] | None, who: str = "") -> None:
        """Gives a policy a name; None takes it away. Raises ConflictError while it is used."""
        self._tasks.set_segment(name, policy, who)
        self._taken_over()

    def segments(self) -> dict[str, Any]:
        """Name -> policy."""
        return self._queries.segments()

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
        self._tasks.add_version(
            task, number, commit=commit, message=message, signer=signer, manifest=manifest, who=who
        )
        return self._queries.version(task, number)

    def manifest(self, task: str, number: int) -> bytes:
        """The manifest that `add_version` was given."""
        return self._queries.manifest(task, number)

    def unpublished(self) -> list[tuple[str, int]]:
        """Versions, by task and number, whose image is not known to be published."""
        return self._queries.unpublished()

    def published(self, task: str, number: int, who: str = "") -> None:
        """Notes that the version's image is published."""
        self._tasks.published(task, number, who)

    # releases

    def create_release(self, task: str, number: int, plan: Mapping[str, Any], who: str = "") -> int:
        """Begins to release a version in place of the task's stable one; returns the release's id.

        Raises ConflictError if a release of the task goes on, or the version was revoked or rolled back.
        """
        made = self._releases.create(task, number, plan, who)
        self._taken_over()
        return made

    def simulated(self, release: int, passed: bool, why: str = "", who: str = "") -> None:
        """Tells how the simulation ended."""
        self._releases.simulated(release, passed, why, who)
        self._taken_over()

    def approve(self, release: int, who: str, role: str = "", why: str = "") -> None:
        """Approves what the current stage has shown."""
        self._releases.approve(release, who, role, why)
        self._taken_over()

    def pause(self, release: int, who: str, why: str = "") -> None:
        """Nobody new gets the version; holds for all workers when it returns."""
        self._releases.pause(release, who, why)
        self._everywhere()

    def resume(self, release: int, who: str, why: str = "") -> None:
        """Ends a pause."""
        self._releases.resume(release, who, why)
        self._taken_over()

    def rollback(self, release: int, who: str, why: str = "") -> None:
        """Devices go back to the version before; no worker offers the version any more when it returns."""
        self._releases.rollback(release, who, why)
        self._everywhere()

    def revoke(self, task: str, number: int, who: str, why: str = "") -> None:
        """The version must not run anywhere, ever; no worker offers it any more when it returns."""
        self._releases.revoke(task, number, who, why)
        self._everywhere()

    def tick(self) -> float:
        """Lets time pass for the releases that wait for it; returns the seconds until it wants to be called again."""
        return self._releases.tick()

    # devices

    def device_token(self, device: str) -> str:
        """The token of a device: the same for ever with the same secret."""
        return device_token(self._secret, device_id(device))

    def check_digest(self, digest: bytes) -> bool:
        """Whether nothing is new for the profile with this digest. From memory; False: send the profile to `check`.

        The digest that a device must have when it has installed what this worker answered tells that it has.
        """
        return self._checks.digest(digest)

    def check_digests(self, digests: Sequence[bytes]) -> list[bool]:
        """`check_digest` for several devices."""
        return self._checks.digests(digests)

    def check(self, profile: Profile, nonce: bytes = b"") -> bytes | None:
        """The signed answer of what the device should run; None if nothing is new. May wait for a commit.

        Raises BusyError while this worker does not know what may be offered.
        """
        made = self._checks.begin(profile, nonce)
        return made.result() if isinstance(made, Future) else made

    def begin_check(self, profile: Profile, nonce: bytes = b"") -> bytes | Future[bytes | None] | None:
        """As `check`, without waiting: a Future where an admission has to be committed, or the epoch looked at, first.

        Only by an epoch that was read after the call is a device told to remove a task, or to run an older version of it.
        """
        return self._checks.begin(profile, nonce)

    def prepare_check(self, profile: Profile, nonce: bytes = b"") -> Unsigned | Future[bytes | None] | None:
        """As `begin_check`, with an answer that `seal` is to sign."""
        return self._checks.prepare(profile, nonce)

    def seal(self, some: Sequence[Unsigned]) -> list[bytes]:
        """The answers that `prepare_check` made, which share signatures (ADR 29). Raises BusyError if any is too old."""
        return self._checks.seal(some)

    def begin_checks(self, asked: Sequence[tuple[Profile, bytes]]) -> list[Begun]:
        """`begin_check` for several devices, profile and nonce of each: their answers share signatures.

        What `begin_check` would raise for one of them, DeployError, is in its place.
        """
        return self._checks.begin_all(asked)

    def report(self, device: str, reports: Sequence[DeviceReport]) -> None:
        """Takes a device's reports; they are durable when it returns. Raises BusyError, TooLargeError."""
        self.begin_report(device, reports).result()

    def begin_report(self, device: str, reports: Sequence[DeviceReport]) -> Future[None]:
        """As `report`, without waiting: the Future ends when they are durable."""
        job = Reports(device_id(device), checked(reports))
        if not self._writer.put(job):
            raise BusyError("too many reports wait; send them again later")
        return job.done

    def refresh(self) -> None:
        """Looks at the epoch now, and takes over what changed."""
        self._watch.refresh()

    def health(self) -> str:
        """Why this worker cannot serve; "" if it can."""
        return self._watch.stale() or (f"writes fail: {self._writer.trouble}" if self._writer.trouble else "")

    # asking

    def tasks(self, limit: int = 1000, after: str = "") -> list[TaskInfo]:
        """Tasks in the order of their names, without their versions."""
        return self._queries.tasks(limit, after)

    def task(self, name: str) -> TaskInfo:
        """A task with its versions, newest first. Raises MissingError."""
        self._writer.flush(SHOWN_S)
        return self._queries.task(name)

    def releases(
        self, task: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[ReleaseInfo]:
        """Releases, newest first, without plan, history and failures; `before`: with a smaller id."""
        return self._queries.releases(task, limit, before)

    def release(self, release: int) -> ReleaseInfo:
        """A release with all that is known. Raises MissingError."""
        return self._queries.release(release)

    def curve(self, release: int) -> list[Point]:
        """Coverage and failures over time, oldest first; at most 2,000 points."""
        return self._queries.curve(release)

    def changed(self, known: Mapping[int, int]) -> list[Changed]:
        """Of the releases that go on or ended lately, those whose revision is not in `known` (id -> revision)."""
        return self._queries.changed(known)

    def devices(self, prefix: str = "", after: str = "", limit: int = 100) -> list[DeviceInfo]:
        """Devices in the order of their ids."""
        self._writer.flush(SHOWN_S)
        return self._queries.devices(prefix, after, limit)

    def device(self, device: str) -> DeviceInfo:
        """A device. Raises MissingError."""
        self._writer.flush(SHOWN_S)
        return self._queries.device(device)

    def explain(self, device: str, task: str) -> Explanation:
        """Why a device gets a task, or does not. Raises MissingError for a task that is not there."""
        self._writer.flush(SHOWN_S)
        return self._explaining.explain(self._watch.snapshot, device, task)

    def audit(
        self, limit: int = 100, before: int | None = None, text: str = "", what: str = ""
    ) -> list[AuditLine]:
        """Who changed what, newest first; `before`: with a smaller id, `text`: contained in it, `what`: changed thing."""
        return self._queries.audit(limit, before, text, what)

    def note(self, who: str, action: str, what: str, text: str = "") -> None:
        """Adds a line to the audit log, for what is changed outside of this object."""
        self.database.write(lambda found: note(found, self._clock(), who, action, what, text))

    def counts(self) -> Counts:
        """The platform in numbers."""
        devices, tasks, releases = self._queries.numbers()
        snapshot = self._watch.snapshot
        return Counts(
            devices=devices,
            tasks=tasks,
            releases=releases,
            epoch=snapshot.epoch,
            age=self._watch.age(),
            quiet=len(snapshot.quiet),
            waiting=self._writer.waiting,
        )

    def _taken_over(self) -> None:
        """Lets this worker know what was changed. If it cannot, the change is made all the same, and `health` tells."""
        with contextlib.suppress(DeployError):
            self.refresh()

    def _everywhere(self) -> None:
        """Returns when no worker goes by an older epoch than that of now."""
        until = steady() + self._lease
        self._taken_over()
        while (left := until - steady()) > 0:
            time.sleep(left)

    def _forget(self) -> None:
        """Devices whose description was lost are to send it again."""
        self._watch.snapshot.quiet = set()
