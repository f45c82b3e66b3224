"""Reads git objects, each proven to be what its id says: a signature covers ids only."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dulwich.errors import ObjectFormatException
from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ShaFile

from walle_deploy.errors import TaskError

FILE = 0o100644
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}


def read(repo: Any, sha: bytes, kind: str, where: str, limit: int | None = None) -> bytes:
    """Content of an object. Raises TaskError if it is missing, damaged, altered, of another kind or larger than `limit`."""
    size = loose_size(repo, sha) if limit is not None else None
    if size is not None and limit is not None and size > limit:
        raise TaskError(
            f"{where}: has {size} bytes, and at most {limit} are left for it; make the task smaller"
        )
    try:
        number, data = repo.object_store.get_raw(sha)
        data = bytes(data)
    except (KeyError, ValueError, ObjectFormatException, zlib.error, AssertionError, OSError) as error:
        raise TaskError(
            f"{where}: {sha.decode()} is not in the repository, or damaged ({error!r:.80})"
        ) from error
    found = _KINDS.get(number, "?")
    if found != kind:
        raise TaskError(f"{where}: wanted a {kind}, but {sha.decode()} is a {found}")
    digest = hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).hexdigest()
    if digest != sha.decode():
        raise TaskError(
            f"{where}: {sha.decode()} was altered (its content is {digest}); fetch the repository again"
        )
    if limit is not None and len(data) > limit:
        raise TaskError(
            f"{where}: has {len(data)} bytes, and at most {limit} are left for it; make the task smaller"
        )
    return data


def read_commit(repo: Any, sha: str) -> Any:
    """A commit. Raises TaskError as `read` does."""
    data = read(repo, sha.encode(), "commit", "the task's history", 1 << 20)
    try:
        made = ShaFile.from_raw_string(Commit.type_num, data)
        made.check()
    except (ObjectFormatException, ValueError) as error:
        raise TaskError(f"the commit {sha} is malformed: {error}") from error
    return made


def loose_size(repo: Any, sha: bytes) -> int | None:
    """Size of an object that lies in a file of its own, from its head: it may unpack to far more than the file has."""
    text = sha.decode()
    try:
        with Path(repo.object_store.path, text[:2], text[2:]).open("rb") as file:
            head = zlib.decompressobj().decompress(file.read(64), 32)
        return int(head.split(b"\0")[0].split(b" ")[1])
    except (OSError, zlib.error, ValueError, IndexError):
        return None


def write_commit(
    repo: Any, files: Mapping[str, bytes], message: str, parents: list[bytes], author: str, time: int
) -> Any:
    """A commit of exactly these files, stored; no branch names it yet."""
    blobs = []
    for path, data in files.items():
        blob = Blob.from_string(data)
        if blob.id not in repo.object_store:
            repo.object_store.add_object(blob)
        blobs.append((path.encode(), blob.id, FILE))
    made: Any = Commit()
    made.tree, made.parents = commit_tree(repo.object_store, blobs), parents
    made.author = made.committer = author.encode()
    made.author_time = made.commit_time = time
    made.author_timezone = made.commit_timezone = 0
    made.encoding, made.message = b"UTF-8", (message.strip() + "\n").encode()
    repo.object_store.add_object(made)
    return made
