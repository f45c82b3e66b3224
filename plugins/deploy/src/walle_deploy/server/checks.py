"""Checks of devices: from memory, but for admissions under a budget."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import msgspec

from walle_deploy.errors import DeployError
from walle_deploy.profile import Profile, digest_of
from walle_deploy.server.batch import Admission
from walle_deploy.server.counters import Counters
from walle_deploy.server.inputs import device_id
from walle_deploy.server.profiles import Described
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.snapshot import EXPECTED, QUIET, Snapshot, View, number
from walle_deploy.server.steady import steady, steady_us
from walle_deploy.server.watching import Watch
from walle_deploy.server.writer import Writer
from walle_deploy.trust.answer import AnswerSigner

VALID_S = 7 * 86_400
NONCE = 32  # bytes
SMALL = 8  # tasks
JUMP_S = 86_400.0  # by which the clock may go ahead of what passed, and answers believe it


class Unsigned(msgspec.Struct):
    """An answer that says something new, to be sealed; `settled`: no release has to be asked once more."""

    snapshot: Snapshot
    profile: Profile
    wanted: dict[str, str]
    payload: bytes
    settled: bool = False


Begun = bytes | Future[bytes | None] | DeployError | None


class Checks:
    """Answers devices.

    Args:
        watch: has the snapshot.
        writer: takes descriptions and admissions.
        signer: of answers.
        counters: of answers.
        clock: Unix seconds.
    """

    def __init__(
        self,
        watch: Watch,
        writer: Writer,
        signer: AnswerSigner,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._watch, self._writer = watch, writer
        self._signer, self._counters, self._clock = signer, counters, clock
        self._began = clock() - steady_us() / 1e6

    def digest(self, digest: bytes) -> bool:
        """See Platform.check_digest."""
        snapshot = self._watch.snapshot
        if digest in snapshot.quiet or steady() >= snapshot.valid_until:
            return True
        described = snapshot.expected.pop(digest, None)
        return described is not None and self._quiet(snapshot, described)

    def digests(self, digests: Sequence[bytes]) -> list[bool]:
        """See Platform.check_digests."""
        quiet = self._watch.snapshot.quiet
        return [digest in quiet or self.digest(digest) for digest in digests]

    def begin(self, profile: Profile, nonce: bytes = b"") -> bytes | Future[bytes | None] | None:
        """See Platform.begin_check."""
        found = self.prepare(profile, nonce)
        return self.seal([found])[0] if isinstance(found, Unsigned) else found

    def begin_all(self, asked: Sequence[tuple[Profile, bytes]]) -> list[Begun]:
        """See Platform.begin_checks."""
        made: list[Begun] = []
        new: list[Unsigned] = []
        places: list[int] = []
        for profile, nonce in asked:
            try:
                found = self.prepare(profile, nonce)
            except DeployError as error:
                made.append(error)
                continue
            if isinstance(found, Unsigned):
                places.append(len(made))
                new.append(found)
                made.append(None)
            else:
                made.append(found)
        if new:
            try:
                answers: Sequence[bytes | DeployError] = self.seal(new)
            except DeployError as error:
                answers = [error] * len(new)
            for place, answer in zip(places, answers, strict=True):
                made[place] = answer
        return made

    def prepare(self, profile: Profile, nonce: bytes = b"") -> Unsigned | Future[bytes | None] | None:
        """See Platform.prepare_check."""
        device_id(profile.id)
        if len(nonce) > NONCE:
            raise DeployError(f"a nonce of {len(nonce)} bytes; send at most {NONCE}")
        snapshot = self._watch.current()
        if profile.digest in snapshot.quiet:
            return None
        wanted, asked = snapshot.wanted(profile)
        if wanted == profile.installed or not _goes_back(profile.installed, wanted):
            return self._answer(snapshot, profile, nonce, wanted, asked)
        # Another worker may have offered what this one has not seen yet: only what is read from now on may take it away.
        fresh = self._watch.fresh()
        if isinstance(fresh, Future):
            return self._later(fresh, profile, nonce)
        return self._answer(fresh, profile, nonce, *fresh.wanted(profile))

    def _later(self, fresh: Future[Snapshot], profile: Profile, nonce: bytes) -> Future[bytes | None]:
        """The answer by a snapshot that is still to come."""
        made: Future[bytes | None] = Future()

        def looked(done: Future[Snapshot]) -> None:
            try:
                snapshot = done.result()
                found = self._answer(snapshot, profile, nonce, *snapshot.wanted(profile))
                answer = self.seal([found])[0] if isinstance(found, Unsigned) else found
            except Exception as error:
                made.set_exception(error)
                return
            if isinstance(answer, Future):
                answer.add_done_callback(lambda admitted: _hand_over(admitted, made))
            else:
                made.set_result(answer)

        made.set_running_or_notify_cancel()
        fresh.add_done_callback(looked)
        return made

    def _answer(
        self,
        snapshot: Snapshot,
        profile: Profile,
        nonce: bytes,
        wanted: dict[str, str],
        asked: list[View],
    ) -> Unsigned | Future[bytes | None] | None:
        if asked:
            now = steady()
            ready = [view for view in asked if view.again <= now]
            if ready:
                return self._ask(snapshot, profile, nonce, wanted, ready)
        described = Described(profile.id, profile.digest, profile.canonical, profile.installed)
        if wanted == profile.installed:
            if asked:
                self._writer.put(described)
            else:
                self._quiet(snapshot, described)
            return None
        self._writer.put(described)
        return Unsigned(snapshot, profile, wanted, self._packed(snapshot, profile, wanted, nonce), not asked)

    def seal(self, some: Sequence[Unsigned]) -> list[bytes]:
        """See Platform.seal."""
        made = self._signer.seal([each.payload for each in some])
        now = steady()
        for each in some:
            if now >= each.snapshot.valid_until:
                raise BusyError(self._watch.stale() or "what may be offered changed just now; try again")
            if each.settled:
                self._expect(each.snapshot, each.profile, each.wanted)
        return made

    def _quiet(self, snapshot: Snapshot, described: Described) -> bool:
        """Writes the description of a device for which nothing is new, and remembers its digest; whether it will be written."""
        if not self._writer.put(described):
            return False
        if len(snapshot.quiet) >= QUIET:
            snapshot.quiet = set()
        snapshot.quiet.add(described.digest)
        return True

    def _expect(self, snapshot: Snapshot, profile: Profile, wanted: dict[str, str]) -> None:
        """Remembers how the device will describe itself when it has installed its answer: then nothing is new for it."""
        canonical = profile.having(wanted)
        digest = digest_of(canonical)
        expected = snapshot.expected
        if len(expected) >= EXPECTED:
            with contextlib.suppress(StopIteration, RuntimeError):  # another thread changes it just now
                expected.pop(next(iter(expected)), None)
        small = (
            wanted if len(wanted) <= SMALL else None
        )  # which takes more memory than what it saves is worth
        expected[digest] = Described(profile.id, digest, canonical, small)
        snapshot.quiet.discard(digest)  # it was so before: that it is so again has to be written again

    def _ask(
        self,
        snapshot: Snapshot,
        profile: Profile,
        nonce: bytes,
        wanted: dict[str, str],
        ready: list[View],
    ) -> Future[bytes | None]:
        job = Admission(profile, {view.name: view.release for view in ready if view.release is not None})
        made: Future[bytes | None] = Future()

        def answered(done: Future[tuple[dict[str, str], dict[str, float]]]) -> None:
            if not made.set_running_or_notify_cancel():
                return
            try:
                given, waits = done.result()
                for name, wait in waits.items():
                    snapshot.views[name].again = steady() + wait
                now = dict(sorted({**wanted, **given}.items())[: snapshot.most])
                new = now != profile.installed
                packed = self._packed(snapshot, profile, now, nonce) if new else b""
                made.set_result(self.seal([Unsigned(snapshot, profile, now, packed)])[0] if new else None)
            except Exception as error:
                made.set_exception(error)

        job.done.add_done_callback(answered)
        if not self._writer.put(job):
            raise BusyError("too many writes wait; try again")
        return made

    def _packed(self, snapshot: Snapshot, profile: Profile, wanted: Mapping[str, str], nonce: bytes) -> bytes:
        issued = int(max(0.0, min(self._clock(), self._began + steady_us() / 1e6 + JUMP_S)))
        return self._signer.pack(
            profile.id,
            snapshot.answer(profile, wanted),
            counter=self._counters.next(),
            issued=issued,
            expires=issued + VALID_S,
            nonce=nonce,
        )


def _goes_back(installed: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a device is to remove a task, or to run an older version of it than it has."""
    for name, running in installed.items():
        version = wanted.get(name)
        if version != running and (version is None or number(version) < number(running)):
            return True
    return False


def _hand_over(done: Future[bytes | None], made: Future[bytes | None]) -> None:
    error = done.exception()
    if error is not None:
        made.set_exception(error)
    else:
        made.set_result(done.result())
