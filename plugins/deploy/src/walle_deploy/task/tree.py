"""A task's files, out of a git tree or a folder: plain files with safe names, within bounds; anything else is refused."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from walle_core.errors import WalleError
from walle_core.files import read_regular
from walle_deploy.errors import TaskError
from walle_deploy.task.objects import FILE, read

EXECUTABLE, FOLDER, LINK, MODULE = 0o100755, 0o040000, 0o120000, 0o160000
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_BINARIES = {
    b"\x7fELF": "Linux", b"MZ": "Windows", b"\xfe\xed\xfa\xce": "macOS", b"\xfe\xed\xfa\xcf": "macOS",
    b"\xce\xfa\xed\xfe": "macOS", b"\xcf\xfa\xed\xfe": "macOS", b"\xca\xfe\xba\xbe": "macOS",
}  # fmt: skip
_IGNORED = ("__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache")


@attrs.frozen
class Bounds:
    """The largest tree that is read: number of files, bytes of one and of all, folders within folders."""

    files: int = 1000
    file_bytes: int = 256 << 20
    all_bytes: int = 1 << 30
    depth: int = 8


DEFAULT = Bounds()


def check_name(name: str, where: str) -> None:
    """Raises TaskError for a name that some system cannot hold, or would take for something else."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise TaskError(f"{where}: the name {name!r} leads out of the task's folder; rename it")
    folded = unicodedata.normalize("NFKC", name).casefold()
    if re.sub(r"[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", "", folded) in (
        ".git",
        "git~1",
        ".gitmodules",
    ):
        raise TaskError(f"{where}: {name!r} is git's own name; remove it")
    if len(name.encode()) > 255 or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in name):
        raise TaskError(f"{where}: the name {name!r:.80} is too long, or has characters that cannot be seen")
    if set(name) & set('<>:"|?*') or name[-1] in ". " or _RESERVED.fullmatch(name):
        raise TaskError(f"{where}: Windows cannot hold a file {name!r}; rename it")


def check_paths(paths: Iterable[str]) -> None:
    """Raises TaskError for unsafe paths, and for two that are one where case does not count."""
    seen: dict[str, str] = {}
    whole: set[str] = set()
    for path in paths:
        parts = path.split("/")
        for depth, name in enumerate(parts, 1):
            check_name(name, path)
            prefix = "/".join(parts[:depth])
            key = unicodedata.normalize("NFKC", prefix).casefold()
            if seen.setdefault(key, prefix) != prefix:
                raise TaskError(
                    f"{path}: differs from {seen[key]} only in case or form of letters; rename one"
                )
            if key in whole or (depth == len(parts) and any(k.startswith(f"{key}/") for k in seen)):
                raise TaskError(f"{path}: a file and a folder have one name; rename one")
        whole.add(unicodedata.normalize("NFKC", path).casefold())


def check_content(path: str, data: bytes) -> None:
    """Raises TaskError for machine code, which no signature check of scripts and models covers."""
    for head, system in _BINARIES.items():
        if data.startswith(head):
            raise TaskError(
                f"{path}: is a program for {system}; a task holds scripts, models and data. Remove it"
            )


def read_tree(repo: Any, tree: bytes, bounds: Bounds = DEFAULT) -> dict[str, bytes]:
    """The files of a git tree, path -> content. Raises TaskError for anything but plain files within bounds."""
    entries = list(_entries(repo, tree, "", 1, bounds, [bounds.files]))
    check_paths(path for path, _ in entries)
    files: dict[str, bytes] = {}
    left = bounds.all_bytes
    for path, sha in entries:
        data = read(repo, sha, "blob", path, min(left, bounds.file_bytes))
        left -= len(data)
        check_content(path, data)
        files[path] = data
    return files


def tree_entries(repo: Any, tree: bytes, bounds: Bounds = DEFAULT) -> dict[str, bytes]:
    """Path -> id of the content, without reading it. Raises TaskError as `read_tree` does."""
    entries = dict(_entries(repo, tree, "", 1, bounds, [bounds.files]))
    check_paths(entries)
    return entries


def _entries(
    repo: Any, tree: bytes, above: str, depth: int, bounds: Bounds, left: list[int]
) -> Iterator[tuple[str, bytes]]:
    where = above or "the task's folder"
    if depth > bounds.depth:
        raise TaskError(f"{where}: folders lie more than {bounds.depth} deep; flatten them")
    raw = read(repo, tree, "tree", where, 1 << 20)
    try:
        rows = list(parse_tree(raw, 20, strict=True))
    except (ValueError, ObjectFormatException) as error:
        raise TaskError(f"{where}: the tree {tree.decode()} is malformed: {error}") from error
    names: set[bytes] = set()
    for name, mode, sha in rows:
        try:
            path = f"{above}/{name.decode()}" if above else name.decode()
        except UnicodeDecodeError as error:
            raise TaskError(f"{where}: the name {name!r} is no UTF-8; rename it") from error
        check_name(name.decode(), path)
        if name in names:
            raise TaskError(f"{path}: is twice in one folder: the tree was tampered with")
        names.add(name)
        if mode == FOLDER:
            yield from _entries(repo, sha, path, depth + 1, bounds, left)
            continue
        _check_mode(path, mode)
        left[0] -= 1
        if left[0] < 0:
            raise TaskError(f"{path}: the task has more than {bounds.files} files; leave some out")
        yield path, sha


def _check_mode(path: str, mode: int) -> None:
    if mode == LINK:
        raise TaskError(f"{path}: is a symbolic link; put the file itself there")
    if mode == MODULE:
        raise TaskError(f"{path}: is a submodule; put its files there")
    if mode == EXECUTABLE:
        raise TaskError(
            f"{path}: is marked executable, which no task needs: git update-index --chmod=-x {path}"
        )
    if mode != FILE:
        raise TaskError(f"{path}: has mode {mode:o}; wanted a plain file, {FILE:o}")


def read_folder(folder: str | os.PathLike[str], bounds: Bounds = DEFAULT) -> dict[str, bytes]:
    """The files of a folder as a tree would hold them; git's own and caches are left out. Raises TaskError."""
    files: dict[str, bytes] = {}
    left = bounds.all_bytes
    root = Path(folder)
    for path in _walk(root, "", bounds.depth):
        if len(files) >= bounds.files:
            raise TaskError(f"{path}: the task has more than {bounds.files} files; leave some out")
        limit = min(left, bounds.file_bytes)
        try:
            data = read_regular(root / path, limit + 1)
        except (OSError, WalleError) as error:
            raise TaskError(f"{path}: cannot be read: {error}") from error
        if len(data) > limit:
            raise TaskError(
                f"{path}: has more than the {limit} bytes that are left for it; make the task smaller"
            )
        left -= len(data)
        check_content(path, data)
        files[path] = data
    check_paths(files)
    return files


def _walk(root: Path, above: str, depth: int) -> Iterator[str]:
    try:
        found = sorted(os.scandir(root / above), key=lambda e: e.name)
    except OSError as error:
        raise TaskError(f"{above or root}: the folder cannot be read: {error.strerror}") from error
    for entry in found:
        path = f"{above}/{entry.name}" if above else entry.name
        if entry.name in _IGNORED or entry.name.endswith(".pyc"):
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            if depth <= 1:
                raise TaskError(f"{path}: folders lie too deep; flatten them")
            yield from _walk(root, path, depth - 1)
        elif stat.S_ISREG(mode):
            yield path
        else:
            raise TaskError(f"{path}: is a link, pipe or device; put a plain file there")
