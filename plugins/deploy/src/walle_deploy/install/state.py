"""Which version of a task a device runs, and which it goes back to: a small file, kept twice."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import msgspec

from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.disk import Disk
from walle_deploy.manifest import check_digest

MAX_BAD = 64  # digests of bad versions that are remembered, the newest
_MAX_BYTES = 1 << 16
_log = logging.getLogger(__name__)


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one task.

    Attributes:
        count: how often it changed; the file with the higher count is the newer one.
        current: digest of the version that runs; "" if none does.
        good: whether it has shown that it works.
        last: digest of the version to go back to; "" if there is none.
        bad: digests that must not be installed.
    """

    count: int = 0
    current: str = ""
    good: bool = False
    last: str = ""
    bad: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for digest in (self.current, self.last, *self.bad):
            if digest:
                check_digest(digest)

    def switched(self, digest: str) -> State:
        """With another current version; goes back to the newest that was good, or if none was, to the one before."""
        last = self.current if self.current and (self.good or not self.last) else self.last
        return msgspec.structs.replace(
            self, count=self.count + 1, current=digest, good=False, last="" if last == digest else last
        )

    def without(self, digest: str, bad: bool) -> State:
        """Without a version, which is `bad` or only gone."""
        marked = ([d for d in self.bad if d != digest] + [digest])[-MAX_BAD:] if bad else self.bad
        last = "" if self.last == digest else self.last
        if self.current == digest:
            return State(self.count + 1, last, bool(last), "", tuple(marked))
        return State(self.count + 1, self.current, self.good, last, tuple(marked))


class StateFile:
    """The two files of a task's state. What it says survives the loss of either file."""

    def __init__(self, disk: Disk, folder: Path, task: str) -> None:
        self._disk = disk
        self._paths = (folder / f"{task}.current", folder / f"{task}.copy")
        self.damaged = False  # whether both are unreadable, though one is there

    def read(self) -> State:
        """The state; a fresh one if there is no file that can be read."""
        found = [_read(path) for path in self._paths]
        self.damaged = not any(found) and any(path.exists() for path in self._paths)
        return max((state for state in found if state), key=lambda state: state.count, default=State())

    def repair(self) -> State:
        """Like `read`; afterwards both files say so, if the disk has room."""
        state = self.read()
        if state.count:
            for path in self._paths:
                if _read(path) != state:
                    self._spare(path, state)
        return state

    def write(self, state: State) -> None:
        """Changes the state in one step: after a power cut the old or the new one is read. Raises OSError: it is the old."""
        first, copy = self._paths
        self._disk.replace(first, _packed(state))
        self._spare(copy, state)

    def _spare(self, path: Path, state: State) -> None:
        """Writes what is already in the other file."""
        try:
            self._disk.replace(path, _packed(state))
        except OSError as error:
            _log.warning("%s: %s; it will be tried again", path, error)


def _packed(state: State) -> bytes:
    body = msgspec.json.encode(state)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read(path: Path) -> State | None:
    """The state in a file; None if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
        check, _, body = data.partition(b" ")
        if len(check) != 8 or not body.endswith(b"\n") or int(check, 16) != zlib.crc32(body[:-1]):
            return None
        return msgspec.json.decode(body, type=State)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    except (ValueError, msgspec.DecodeError, DeployError):
        return None
