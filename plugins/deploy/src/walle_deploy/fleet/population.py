"""Who the devices of a simulated fleet are, in a few bytes each; profiles are joined from parts when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from walle_deploy.fleet.kinds import KINDS, kinds
from walle_deploy.profile import Profile

PREFIX = "sim-"
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Population:
    """Devices 0 to `size` - 1.

    Args:
        size: devices.
        seed: which kinds they are of.
        prefix: of their ids; two fleets at one server have different ones.

    Attributes:
        device: the kind of each device.
        user: the kind of each one's user.
    """

    def __init__(self, size: int, seed: int = 0, prefix: str = PREFIX) -> None:
        if size < 1:
            raise ValueError(f"a fleet of {size} devices; it has at least one")
        rng = np.random.default_rng(seed)
        self.prefix, self.first = prefix, 0
        self.device: NDArray[np.uint16] = rng.integers(KINDS, size=size, dtype=np.uint16)
        self.user: NDArray[np.uint16] = rng.integers(KINDS, size=size, dtype=np.uint16)
        self._join()

    def part(self, first: int, last: int) -> Self:
        """The devices from `first` to `last` - 1 alone, counted from 0 again; their ids stay."""
        made = object.__new__(type(self))
        made.prefix, made.first = self.prefix, self.first + first
        made.device, made.user = self.device[first:last], self.user[first:last]
        made._join()
        return made

    def _join(self) -> None:
        self._devices, self._users = _parts()
        self._device: memoryview[int] = self.device.data  # its items are plain numbers
        self._user: memoryview[int] = self.user.data

    def __len__(self) -> int:
        return len(self.device)

    @property
    def zones(self) -> NDArray[np.float64]:
        """Hours that each device is ahead of UTC."""
        found: NDArray[np.float64] = np.array(kinds().zones)[self.user]
        return found

    def id(self, number: int) -> str:
        """The id of a device."""
        return f"{self.prefix}{self.first + number:07d}"

    def canonical(self, number: int, installed: bytes) -> bytes:
        """`Profile.canonical` of a device with what `packed` gave of its tasks."""
        name = f"{self.prefix}{self.first + number:07d}"
        device, user = self._devices[self._device[number]], self._users[self._user[number]]
        return b"".join((b"\x94", _encode(name), device, user, installed))

    def profile(self, number: int, installed: Mapping[str, str]) -> Profile:
        """The profile of a device that has these tasks: name -> version."""
        known = kinds()
        return Profile(
            self.id(number),
            known.devices[self.device[number]],
            known.users[self.user[number]],
            dict(installed),
        )


def packed(installed: Mapping[str, Any]) -> bytes:
    """The part of a profile that says which tasks are there."""
    return _encode(dict(installed))


@cache
def _parts() -> tuple[list[bytes], list[bytes]]:
    known = kinds()
    return [packed(device) for device in known.devices], [packed(user) for user in known.users]
