"""A disk whose power is cut at a chosen operation, and what is then left of what was not synced."""

import errno
import hashlib
import itertools
import random
import shutil
from pathlib import Path

from walle_deploy.install.disk import Disk
from walle_deploy.install.fetch import Source
from walle_deploy.manifest import File, Manifest


class Cut(BaseException):
    """The power is gone: nothing that the program does after it counts."""


class QuickDisk(Disk):
    """For the way to where a test begins."""

    def sync(self, path):
        pass


class CuttingDisk(Disk):
    """Counts operations and cuts the power before number `at`, in the middle of it where it has one."""

    def __init__(self, attic: Path, at: int | None, seed: int = 0, links: bool = True):
        self.at, self.count, self.dead, self.links = at, 0, False, links
        self.random = random.Random(seed)
        self._attic = attic
        self._numbers = itertools.count()
        self._contents = {}  # inode: [synced content, path] of files that were written since their last sync
        self._names = []  # [undo, its arguments, folder, paths…] of changes of names, until the folder is synced
        attic.mkdir(exist_ok=True)

    def _step(self):
        if self.dead:
            raise Cut
        self.count += 1
        self.dead = self.count == self.at
        return self.dead

    def _live(self):
        if self._step():
            raise Cut

    def folder(self, path):
        if not path.exists():
            self._live()
            path.mkdir()
            self._names.append([undo_folder, (), path.parent, path])

    def write(self, path, chunks, append=False):
        dying = self._step()
        data = b"".join(chunks)
        if not path.exists():
            path.touch()
            self._names.append([undo_file, (), path.parent, path])
        self._contents.setdefault(path.stat().st_ino, [path.read_bytes(), path])
        super().write(path, [data[: len(data) // 2] if dying else data], append)
        if dying:
            raise Cut

    def cut(self, path, size):
        self._live()
        self._contents.setdefault(path.stat().st_ino, [path.read_bytes(), path])
        super().cut(path, size)

    def sync(self, path):
        self._live()
        if path.is_dir():
            self._names = [entry for entry in self._names if entry[2] != path]
        else:
            self._contents.pop(path.stat().st_ino, None)

    def rename(self, old, new):
        self._live()
        before = self._kept(new) if new.is_file() else None
        super().rename(old, new)
        for entry in self._names:
            if entry[3] == old:  # its name is now one of the other folder
                entry[2] = new.parent
        for entry in [*self._contents.values(), *self._names]:
            for n, path in enumerate(entry):
                if isinstance(path, Path) and (path == old or old in path.parents):
                    entry[n] = new / path.relative_to(old)
        self._names.append([undo_rename, (before, old), new.parent, new])

    def link(self, old, new):
        self._live()
        if not self.links:
            return False
        self._names.append([undo_file, (), new.parent, new])
        return super().link(old, new)

    def remove(self, path):
        if path.exists():
            self._live()
            before = self._kept(path)
            path.unlink()
            self._names.append([undo_remove, (before,), path.parent, path])

    def remove_all(self, path):
        if not path.exists():
            return
        dying = self._step()
        before = self._attic / f"{next(self._numbers)}"
        shutil.copytree(path, before)
        self._thin(path)
        if dying:
            raise Cut
        shutil.rmtree(path)
        self._thin(before)
        self._names.append([undo_remove_all, (before,), path.parent, path])

    def _thin(self, folder):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and self.random.random() < 0.5:
                file.unlink()

    def _kept(self, path):
        copy = self._attic / f"{next(self._numbers)}"
        shutil.copy2(path, copy)
        return copy

    def settle(self):
        """Loses what was not synced: of each content a part, of the names the last few, or all."""
        for content, path in self._contents.values():
            if path.is_file():
                now = path.read_bytes()
                path.chmod(0o644)
                zeros = now[: len(content)] + bytes(max(0, len(now) - len(content)))
                path.write_bytes(self.random.choice([now, content, now[: len(now) // 2], zeros]))
        kept = self.random.choice([0, self.random.randint(0, len(self._names))])
        for undo, arguments, _, path in reversed(self._names[kept:]):
            undo(path, *arguments)


def undo_folder(path):
    shutil.rmtree(path, ignore_errors=True)


def undo_file(path):
    path.unlink(missing_ok=True)


def undo_rename(new, before, old):
    if new.exists() and old.parent.exists():
        new.rename(old)
    if before and new.parent.exists():
        shutil.copy2(before, new)


def undo_remove(path, before):
    if path.parent.exists():
        shutil.copy2(before, path)


def undo_remove_all(path, before):
    if path.parent.exists():
        shutil.copytree(before, path, dirs_exist_ok=True)


class FullDisk(Disk):
    """Has no room from write number `at` on."""

    def __init__(self, at):
        self.left = at

    def write(self, path, chunks, append=False):
        self.left -= 1
        if self.left <= 0:
            super().write(path, [b"".join(chunks)[:7]], append)
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(path, chunks, append)


class Memory:
    """A transport of what is in memory."""

    def __init__(self):
        self.files = {}
        self.asked = []

    def read(self, url, offset):
        self.asked.append((url, offset))
        data = self.files[url]
        for start in range(offset, len(data), 10_000):
            yield data[start : start + 10_000]


def version(number, transport, task="task"):
    """(manifest, sources) of a version of which most files are shared with the others."""
    contents = {
        "model/net.bin": hashlib.sha256(b"%d" % number).digest() * 2000,
        "model/words.txt": b"the same in all versions" * 900,
        "main.py": b"print(%d)\n" % number,
        "deep/in/a/folder.json": b"{}",
        "empty": b"",
    }
    files, sources = [], {}
    for path, data in contents.items():
        digest = hashlib.sha256(data).hexdigest()
        transport.files[f"mem:{digest}"] = data
        files.append(File(path, digest, len(data)))
        sources[digest] = Source(f"mem:{digest}")
    return Manifest.of(task, f"v{number}", files), sources
