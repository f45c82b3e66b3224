"""The operations on a device's disk that an installation consists of; tests cut the power at each of them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path


class Disk:
    """The file system. What is not synced may be lost in a power cut: content by its file, names by their folder."""

    def folder(self, path: Path) -> None:
        """Makes a folder, if it is not there, in one that is."""
        path.mkdir(exist_ok=True)

    def write(self, path: Path, chunks: Iterable[bytes], append: bool = False) -> None:
        """Writes a file, or adds to it."""
        with path.open("ab" if append else "wb") as file:
            for chunk in chunks:
                file.write(chunk)

    def cut(self, path: Path, size: int) -> None:
        """Shortens a file to `size` bytes."""
        os.truncate(path, size)

    def sync(self, path: Path) -> None:
        """Makes the content of a file, or the names in a folder, outlast a power cut."""
        if os.name == "nt" and path.is_dir():  # NTFS keeps names in its journal
            return
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Renames within the disk; a file that is called `new` is replaced in one step."""
        os.replace(old, new)

    def link(self, old: Path, new: Path) -> bool:
        """Gives a file a second name; False if this disk cannot."""
        try:
            os.link(old, new)
        except OSError as error:
            if error.errno in _NO_LINKS or isinstance(error, PermissionError):
                return False
            raise
        return True

    def remove(self, path: Path) -> None:
        """Removes a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def remove_all(self, path: Path) -> None:
        """Removes a folder and all below it, if it is there; nothing else counts on it any more."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=_writable)
        else:
            self.remove(path)

    def replace(self, path: Path, data: bytes) -> None:
        """Gives a file new content: after a power cut it has the old one or the new one."""
        fresh = path.with_name(f"{path.name}.new")
        try:
            self.write(fresh, [data])
            self.sync(fresh)
            self.rename(fresh, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(fresh)
            raise
        self.sync(path.parent)


def _no_links() -> frozenset[int]:
    import errno

    return frozenset({errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})


_NO_LINKS = _no_links()


def _writable(remove: object, path: str, info: object) -> None:
    """Tries once more to remove what was read-only, for Windows."""
    with contextlib.suppress(FileNotFoundError):
        place = Path(path)
        place.chmod(0o700)
        place.rmdir() if place.is_dir() else place.unlink()
