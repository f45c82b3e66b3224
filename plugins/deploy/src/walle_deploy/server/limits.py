"""How often one key may come: token buckets of any number of keys in memory that never grows."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable


class Buckets:
    """A token bucket per key. Keys whose hashes share one of `places` share its bucket; hashes differ in each process.

    Args:
        rate: tokens per second.
        burst: tokens of a bucket that was left alone.
        places: how many buckets there are, a power of two; each takes 8 bytes.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        places: int = 1 << 18,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if places & (places - 1):
            raise ValueError(f"{places} places; a power of two is wanted")
        self._step = 1.0 / rate
        self._ahead = (burst - 1) / rate
        self._mask = places - 1
        self._clock = clock
        self._due = array("d", bytes(8 * places))  # when a bucket will be full again

    def wait(self, key: str) -> float:
        """Takes a token; seconds until there will be one, 0.0 if there was one."""
        at, now = hash(key) & self._mask, self._clock()
        due = max(self._due[at], now)
        late = due - now - self._ahead
        if late > 0.0:
            return late
        self._due[at] = due + self._step
        return 0.0
