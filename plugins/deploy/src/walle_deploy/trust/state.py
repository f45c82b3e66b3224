"""What a device has seen, on its disk: numbers that only grow, each under the authority that gave it.

A mark is (authority, value). Under the same authority a value never falls; a new authority (other keys, another
epoch) starts anew, which is how a fleet recovers after a thief of a key has pushed a number to its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from walle_deploy.errors import TrustError
from walle_deploy.trust.keys import write_durably

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

Marks = Mapping[str, tuple[str, int]]

_MAX_FILE = 1 << 20


class _Content(msgspec.Struct):
    marks: dict[str, tuple[str, int]] = {}
    answer: bytes = b""


class TrustState:
    """The marks of one device and its last accepted answer; one process has it open at a time."""

    def __init__(self, path: Path) -> None:
        """Open, or begin on a device that has none. Raises TrustError when it is damaged or in use."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            self._content = _load(path)
        except TrustError:
            self.close()
            raise

    @property
    def answer(self) -> bytes:
        """The last accepted answer as it came, or nothing."""
        return self._content.answer

    def highest(self, name: str, authority: str) -> int:
        """The mark under this authority; 0 when it has none."""
        under, value = self._content.marks.get(name, ("", 0))
        return value if under == authority else 0

    def authority(self, name: str) -> str:
        """Who gave a mark; empty when there is none."""
        return self._content.marks.get(name, ("", 0))[0]

    def floor(self) -> int:
        """No time before this one can be now: the newest time in anything signed that was accepted."""
        return max(
            (value for name, (_, value) in self._content.marks.items() if name.startswith("time.")), default=0
        )

    def record(self, marks: Marks, answer: bytes | None = None) -> None:
        """Write marks, and the answer they come from, durably before returning. Raises TrustError for one that falls."""
        for name, (authority, value) in marks.items():
            if value < self.highest(name, authority):
                raise TrustError(
                    f"{name}: {value} after {self.highest(name, authority)}; refused, it is older"
                )
        content = _Content(
            {**self._content.marks, **marks}, self._content.answer if answer is None else answer
        )
        if content == self._content:
            return
        data = msgspec.msgpack.encode(content)
        write_durably(self._path, hashlib.sha256(data).digest() + data)
        self._content = content

    def forget(self, *names: str) -> None:
        """Drop marks whose authority is gone. Raises TrustError."""
        kept = _Content(
            {k: v for k, v in self._content.marks.items() if k not in names}, self._content.answer
        )
        data = msgspec.msgpack.encode(kept)
        write_durably(self._path, hashlib.sha256(data).digest() + data)
        self._content = kept

    def close(self) -> None:
        """Let another process open it."""
        self._lock.close()


def _load(path: Path) -> _Content:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return _Content()
    except OSError as error:
        raise TrustError(f"{path}: what the device has seen cannot be read: {error}") from error
    if len(data) <= _MAX_FILE and hashlib.sha256(data[32:]).digest() == data[:32]:
        try:
            return msgspec.msgpack.decode(data[32:], type=_Content)
        except (msgspec.MsgspecError, RecursionError):
            pass
    raise TrustError(f"{path}: damaged, so old answers cannot be told from new ones; set the device up again")


def _locked(path: Path) -> IO[bytes]:
    file = None
    try:
        file = path.open("ab")
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if file is not None:
            file.close()
        raise TrustError(f"{path}: in use by another process, or cannot be locked: {error}") from error
    return file
