"""What is known of a release: a value that is stored after every step, and never grows with the fleet or its reports.

At most some 40 KB: counts, tests of a few hundred bytes each, one bit for each of COUNTED places of devices, and digests of
the last RECENT reports. Which devices have the version is not in it: a device says what it runs.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, Self

import msgspec

from walle_deploy.errors import ReleaseError
from walle_deploy.release.means import Means
from walle_deploy.release.plan import COUNTED, Plan, Stage
from walle_deploy.release.sequential import Failures

RECENT = 1024
DIGEST = 8
APPROVALS = 64

Status = Literal["running", "paused", "finished", "rolled back", "revoked"]


class Measured(msgspec.Struct, frozen=True, array_like=True):
    """The test of a metric, and how many values this stage brought to treatment and control."""

    test: Means
    counts: tuple[int, int] = (0, 0)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where a release stands.

    Args:
        version: what is released.
        previous: what was there before, and is offered after a rollback.
        plan: how.
        status: of the whole; the last two are final.
        why: of the rollback or revocation.
        stage: number in the plan.
        clock: the server's latest time.
        elapsed: seconds that were watched since the release was created: what all durations are measured in.
        entered: `elapsed` when the stage began.
        jumps: how often the clock went back, or ahead by more than the plan's gap.
        simulated: result of the simulation and its reason.
        approvals: in this stage: who, and as what.
        failures: the test of failures.
        metrics: tests of values.
        counted: reports of treatment and control in this stage.
        failed: how many of these say that the task failed.
        heard: `elapsed` when treatment and control were last heard of.
        seen: a bit for each place of a device that counted in this round.
        since: `elapsed` when the round began.
        recent: digests of the last reports, the next one's place first to be overwritten.
        place: of the next digest.
        tokens: admissions left.
        filled: `elapsed` when they were counted.
        repeated: reports that had been there already.
        again: reports of devices that had counted in their round.
        hold: which gates were last told as missing.
    """

    version: str
    previous: str | None
    plan: Plan
    status: Status = "running"
    why: str = ""
    stage: int = 0
    clock: float = 0.0
    elapsed: float = 0.0
    entered: float = 0.0
    jumps: int = 0
    simulated: tuple[bool, str] | None = None
    approvals: tuple[tuple[str, str], ...] = ()
    failures: Failures = Failures()
    metrics: dict[str, Measured] = {}
    counted: tuple[int, int] = (0, 0)
    failed: tuple[int, int] = (0, 0)
    heard: tuple[float, float] = (0.0, 0.0)
    seen: bytes = b""
    since: float = 0.0
    recent: bytes = b""
    place: int = 0
    tokens: float = 0.0
    filled: float = 0.0
    repeated: int = 0
    again: int = 0
    hold: str = ""

    @property
    def current(self) -> Stage:
        """The stage."""
        return self.plan.stages[self.stage]

    @property
    def active(self) -> bool:
        """Whether the comparison goes on, paused or not."""
        return self.status in {"running", "paused"}

    @property
    def final(self) -> bool:
        """Whether the version is never offered again."""
        return self.status in {"rolled back", "revoked"}

    def tell(self, at: float) -> Self:
        """The server's time is `at`: a step back lets no time pass, a step ahead the plan's gap at most.

        A clock that went back by more than the gap is believed, so that a wrong time ahead does not stop everything.
        """
        ahead, gap = at - self.clock, self.plan.gap
        if -gap <= ahead <= 0:
            return self if ahead == 0 else msgspec.structs.replace(self, jumps=self.jumps + 1)
        passed = min(max(ahead, 0.0), gap)
        jumped = self.jumps + (ahead < 0 or ahead > gap)
        return msgspec.structs.replace(self, clock=at, elapsed=self.elapsed + passed, jumps=jumped)

    def repeats(self, device: str, number: int) -> bool:
        """Whether this report is among the last RECENT ones."""
        digest = _digest(device, str(number), size=DIGEST)
        at = self.recent.find(digest)
        while at % DIGEST and at >= 0:
            at = self.recent.find(digest, at + 1)
        return at >= 0

    def remember(self, device: str, number: int) -> Self:
        """Keeps the report's digest, instead of the oldest one."""
        digest, at = _digest(device, str(number), size=DIGEST), self.place * DIGEST
        return msgspec.structs.replace(
            self,
            recent=self.recent[:at] + digest + self.recent[at + DIGEST :],
            place=(self.place + 1) % RECENT,
        )

    def marked(self, device: str) -> Self | None:
        """With the device's place taken for this round; None if it is already."""
        place = int.from_bytes(_digest(device, self.version, size=4)) % COUNTED
        at, bit = place // 8, 1 << place % 8
        seen = bytearray(self.seen or bytes(COUNTED // 8))
        if seen[at] & bit:
            return None
        seen[at] |= bit
        return msgspec.structs.replace(self, seen=bytes(seen))


def _digest(*parts: str, size: int) -> bytes:
    return blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=size).digest()


def encode(state: State) -> bytes:
    """MessagePack; `decode` gives an equal state."""
    return msgspec.msgpack.encode(state)


def decode(data: bytes) -> State:
    """The state that `encode` wrote. Raises ReleaseError if the bytes are damaged."""
    try:
        state = msgspec.msgpack.decode(data, type=State)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ReleaseError(f"state of a release: {error}; restore it from a backup") from error
    if not 0 <= state.stage < len(state.plan.stages):
        raise ReleaseError(
            f"state of a release: no stage {state.stage} in its plan; restore it from a backup"
        )
    return state
