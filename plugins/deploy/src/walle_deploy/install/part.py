"""A file that is being fetched: what came is kept over tries, processes and power cuts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from walle_deploy.install.disk import Disk
from walle_deploy.install.versions import read_chunks
from walle_deploy.manifest import Digest

SYNC = 4 << 20  # bytes after which progress is made to outlast a power cut
_WRITE = 1 << 20  # bytes gathered for one write


class Part:
    """A file that is not whole yet, and how much of it is known to outlast a power cut.

    Args:
        disk: where it is written.
        folder: has ``<digest>.part`` and how much of it is synced, ``<digest>.mark``; later the whole file ``<digest>``.
        sha256: digest of the whole file.
        goal: bytes of the whole file.
    """

    def __init__(self, disk: Disk, folder: Path, sha256: Digest, goal: int) -> None:
        self.goal = goal
        self.size = 0  # bytes that came, written or gathered
        self._disk = disk
        self._target = folder / sha256
        self._path = folder / f"{sha256}.part"
        self._mark = folder / f"{sha256}.mark"
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._synced = 0

    @property
    def digest(self) -> Digest:
        """Of what came so far."""
        return self._hash.hexdigest()

    def resume(self) -> None:
        """Goes on behind what an earlier try or process synced."""
        self._hash, self._gathered = hashlib.sha256(), bytearray()
        self.size = self._synced = min(self._marked(), self.goal)
        if not self.size:
            self._disk.write(self._path, [])
            return
        self._disk.cut(self._path, self.size)
        for chunk in read_chunks(self._path):
            self._hash.update(chunk)

    def add(self, chunk: bytes) -> None:
        """Takes what came; more than the goal is not kept."""
        self.size += len(chunk)
        if self.size <= self.goal:
            self._hash.update(chunk)
            self._gathered += chunk
            if len(self._gathered) >= _WRITE:
                self._write()
                if self.size - self._synced >= SYNC:
                    self.flush()

    def flush(self) -> None:
        """Makes all that came outlast a power cut."""
        if self.size > self.goal or self.size == self._synced:
            return
        self._write()
        self._disk.sync(self._path)
        self._disk.replace(self._mark, b"%d\n" % self.size)
        self._synced = self.size

    def finish(self) -> Path:
        """Gives the whole file its name."""
        self._disk.sync(self._path)
        self._disk.rename(self._path, self._target)
        self._disk.sync(self._target.parent)
        self._disk.remove(self._mark)
        return self._target

    def drop(self) -> None:
        """Forgets what came."""
        self._gathered.clear()
        self._disk.remove(self._mark)
        self._disk.remove(self._path)

    def _write(self) -> None:
        self._disk.write(self._path, [bytes(self._gathered)], append=True)
        self._gathered.clear()

    def _marked(self) -> int:
        """Bytes that are known to be synced and are there."""
        try:
            text = self._mark.read_bytes()[:20].strip()
            return min(int(text) if text.isdigit() else 0, self._path.stat().st_size)
        except OSError:
            return 0
