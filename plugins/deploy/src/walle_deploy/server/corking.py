"""Small writes to a connection as one: a system call costs more than what most answers take to be made."""

from __future__ import annotations

import asyncio
from typing import Any

LARGE = 32 << 10  # bytes that are not held back
IDLE, TURNS = (
    4,
    32,
)  # turns of the event loop: without anything new, and in all, for which something is held back


class Corked:
    """A transport that holds back what is written until `flush`, or until nothing comes any more.

    Attributes:
        plain: the transport that writes, and does everything else.
    """

    def __init__(self, plain: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.plain, self._loop = plain, loop
        self._parts: list[bytes] = []
        self._size = self._seen = self._idle = self._turns = 0
        self._turning = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= LARGE:
            self.flush()
        elif not self._turning:
            self._turning = True
            self._seen = self._idle = self._turns = 0
            self._loop.call_soon(self._turn)

    def flush(self) -> None:
        """Writes what was held back."""
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self.plain.is_closing():
                self.plain.write(data)

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return bool(self.plain.is_closing())

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        self.flush()
        self.plain.close()

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        self._parts.clear()
        self.plain.abort()

    def _turn(self) -> None:
        self._turning = False
        if not self._parts:
            return
        self._turns += 1
        self._idle = self._idle + 1 if len(self._parts) == self._seen else 0
        self._seen = len(self._parts)
        if self._idle >= IDLE or self._turns >= TURNS:
            self.flush()
        else:
            self._turning = True
            self._loop.call_soon(self._turn)
