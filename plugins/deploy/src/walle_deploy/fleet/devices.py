"""What the devices of a fleet have: tasks, the digest of their profile, the counter of their last answer."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from walle_deploy.errors import TrustError
from walle_deploy.fleet.errors import BrokenRuleError
from walle_deploy.fleet.population import Population, packed
from walle_deploy.profile import DIGEST_BYTES
from walle_deploy.trust.answer import AnswerTask, Director, open_answer, payload_of

_UNKNOWN = bytes(DIGEST_BYTES)
_VERIFIED = 0x9E3779B1  # spreads device numbers


class _Told(msgspec.Struct, array_like=True):
    """An answer whose tasks are left as they are."""

    device: str
    epoch: int
    counter: int
    issued: int
    expires: int
    nonce: bytes
    tasks: msgspec.Raw


_told = msgspec.msgpack.Decoder(_Told).decode
_tasks = msgspec.msgpack.Decoder(list[AnswerTask]).decode


@attrs.define
class Heard:
    """What devices have heard so far.

    Attributes:
        answers: that came.
        verified: of these, those whose signature was checked.
    """

    answers: int = 0
    verified: int = 0


class Devices:
    """A device is known by its number in the population.

    Args:
        population: who they are.
        start: task -> version that they have at the beginning, but for those of `late`, which have nothing.
        late: the devices that come new.
        director: whose answers they believe; None: signatures are not checked.
        verify: share of devices that check signatures; the others believe what they are told.

    Attributes:
        sets: the sets of tasks that devices have; the first is empty.
        has: number of each device's set.
    """

    def __init__(
        self,
        population: Population,
        start: Mapping[str, str],
        late: NDArray[np.bool_],
        director: Director | None = None,
        verify: float = 0.01,
    ) -> None:
        size = len(population)
        self.population, self.heard = population, Heard()
        self.sets: list[dict[str, str]] = []
        self._packed: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._wires: dict[bytes, int] = {}
        self._set({})
        self.has = np.where(late, 0, self._set(start)).astype(np.int32)
        self._has = self.has.data
        self._digests = bytearray(DIGEST_BYTES * size)
        self._eight = np.frombuffer(self._digests, f"V{DIGEST_BYTES}")
        self._known = np.frombuffer(self._digests, np.uint64)
        self._counters = np.zeros(size, np.int64).data
        self._director, self._below = director, int(verify * (1 << 32))

    def digest(self, number: int) -> bytes:
        """Of the device's profile."""
        at = number * DIGEST_BYTES
        found = bytes(self._digests[at : at + DIGEST_BYTES])
        if found == _UNKNOWN:
            found = blake2b(self.canonical(number), digest_size=DIGEST_BYTES).digest()
            self._digests[at : at + DIGEST_BYTES] = found
        return found

    def digests(self, numbers: NDArray[np.int64]) -> list[bytes]:
        """Of these devices' profiles."""
        for number in numbers[self._known[numbers] == 0].tolist():
            self.digest(number)
        found: list[bytes] = self._eight[numbers].tolist()
        return found

    def header(self, number: int) -> bytes:
        """The value of the header that carries the digest."""
        return urlsafe_b64encode(self.digest(number))[:11]

    def canonical(self, number: int) -> bytes:
        """The device's profile, as it is sent."""
        return self.population.canonical(number, self._packed[self._has[number]])

    def told(self, number: int, wire: bytes, now: float) -> int:
        """The device got an answer; returns the number of the set that it should have, without installing it.

        Raises BrokenRuleError for an answer that is another device's, older than the last one, expired, or not signed.
        """
        heard, name = self.heard, self.population.id(number)
        heard.answers += 1
        if self._director is not None and (number * _VERIFIED) & 0xFFFFFFFF < self._below:
            heard.verified += 1
            try:
                open_answer(wire, self._director)
            except TrustError as error:
                raise BrokenRuleError(f"{name}: {error}") from error
        try:
            answer = _told(payload_of(wire))
        except (msgspec.MsgspecError, IndexError) as error:
            raise BrokenRuleError(f"{name}: not an answer: {error}") from error
        if answer.device != name:
            raise BrokenRuleError(f"{name}: the answer is for {answer.device}")
        if answer.counter <= self._counters[number]:
            raise BrokenRuleError(f"{name}: answer {answer.counter} after {self._counters[number]}")
        if not now < answer.expires:
            raise BrokenRuleError(f"{name}: the answer expired {now - answer.expires:.0f} s ago")
        self._counters[number] = answer.counter
        wanted = bytes(answer.tasks)
        found = self._wires.get(wanted)
        if found is None:
            found = self._set({task.name: f"v{task.version}" for task in _tasks(wanted)})
            self._wires[wanted] = found
        return found

    def install(self, number: int, tasks: int) -> None:
        """The device has this set from now on."""
        self._has[number] = tasks
        at = number * DIGEST_BYTES
        self._digests[at : at + DIGEST_BYTES] = _UNKNOWN

    def now(self, number: int) -> int:
        """Number of the set that the device has."""
        return self._has[number]

    def counts(self) -> list[int]:
        """How many devices have each set."""
        return [int(each) for each in np.bincount(self.has, minlength=len(self.sets))]

    def holding(self, task: str, version: str) -> list[int]:
        """The sets that have a version of a task."""
        return [at for at, tasks in enumerate(self.sets) if tasks.get(task) == version]

    def _set(self, tasks: Mapping[str, str]) -> int:
        data = packed(tasks)
        if data not in self._numbers:
            self._numbers[data] = len(self.sets)
            self.sets.append(dict(tasks))
            self._packed.append(data)
        return self._numbers[data]
