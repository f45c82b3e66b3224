"""Files by their digest in any object store: a local directory, memory, or S3."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import obstore
from obstore.store import LocalStore, MemoryStore, from_url

from walle_deploy.errors import StoreError
from walle_deploy.manifest import MAX_FILE, Digest, check_digest

SHARED, DEVICES, ASIDE = "files", "devices", "aside"  # prefixes of objects
CHUNK = 1 << 20  # bytes that are in memory at a time, a few of them
REFRESH_S = 3600.0  # an object older than this is written again by `put`, so that no collection takes it for forgotten
_MIN_SECRET = 16
_PART = 5 << 20  # bytes of a part of a multipart upload, the least that S3 takes


@attrs.frozen
class Stored:
    """What was put.

    Attributes:
        sha256: its digest.
        size: bytes.
        new: whether it was not there before.
    """

    sha256: Digest
    size: int
    new: bool


class FileStore:
    """Files by SHA-256, shared or exclusive to one device. Thread-safe; many processes may use one object store.

    Shared files are at ``files/ab/cdef…``, the exclusive files of a device at ``devices/<prefix>/ab/cdef…``, where the
    prefix is an HMAC of the device's id: without the secret, no one can tell it, nor from that of another device.

    Args:
        objects: the object store.
        secret: key of the prefixes, at least 16 bytes; without one there are no exclusive files.
        base_url: where a CDN or web server serves the objects; without one, URLs are presigned.
    """

    def __init__(self, objects: Any, secret: bytes = b"", base_url: str = "") -> None:
        if 0 < len(secret) < _MIN_SECRET:
            raise StoreError(
                f"a secret of {len(secret)} bytes for private prefixes; use at least {_MIN_SECRET}"
            )
        self.objects = objects
        self.base_url = base_url.rstrip("/")
        self._secret = secret
        local = isinstance(objects, LocalStore) and objects.prefix
        self._root = Path(objects.prefix) if local else None

    @classmethod
    def open(
        cls, where: str | os.PathLike[str], secret: bytes = b"", base_url: str = "", **options: Any
    ) -> FileStore:
        """The store at a path or a URL (``s3://bucket/path``, ``memory://``); `options` are those of obstore.

        Raises StoreError if it cannot be opened. Nothing is asked of a distant store yet.
        """
        try:
            if "://" not in (text := os.fspath(where)):
                return cls(LocalStore(Path(text).absolute(), mkdir=True), secret, base_url)
            objects = MemoryStore() if text.startswith("memory:") else from_url(text, **options)
        except Exception as error:  # obstore's errors have no common base
            why = str(error).splitlines()[0].strip() if str(error) else type(error).__name__
            raise StoreError(f"store {where}: cannot be opened: {why}; see its address") from error
        return cls(objects, secret, base_url)

    def key(self, sha256: Digest, device: str = "") -> str:
        """Name of the object. Raises DeployError, StoreError."""
        check_digest(sha256)
        return f"{self.prefix(device)}/{sha256[:2]}/{sha256[2:]}"

    def prefix(self, device: str = "") -> str:
        """Below which the files of a device are; the shared ones without a device. Raises StoreError without a secret."""
        if not device:
            return SHARED
        if not self._secret:
            raise StoreError("exclusive files need a store with a secret: FileStore.open(where, secret=…)")
        return f"{DEVICES}/{hmac.new(self._secret, device.encode(), hashlib.sha256).hexdigest()}"

    def put(self, source: bytes | Path | Iterable[bytes], device: str = "") -> Stored:
        """Stores a file, if it is not there. Reads `source` once, `CHUNK` at a time. Raises StoreError."""
        if isinstance(source, bytes):
            return self._put(hashlib.sha256(source).hexdigest(), len(source), source, device)
        with tempfile.TemporaryFile() as copy:  # the digest names the object, so it comes first
            digest, size = hashlib.sha256(), 0
            with _meant("put a file"):
                for chunk in _chunks(source):
                    digest.update(chunk)
                    copy.write(chunk)
                    if (size := size + len(chunk)) > MAX_FILE:
                        raise StoreError(f"a file of more than {MAX_FILE} bytes")
                copy.seek(0)
            return self._put(digest.hexdigest(), size, copy, device)

    def _put(self, sha256: Digest, size: int, source: Any, device: str) -> Stored:
        key = self.key(sha256, device)
        with _meant(key):
            found = self._head(key)
            fresh = found is not None and found["size"] == size and _age_s(found) < REFRESH_S
            if not fresh:
                obstore.put(self.objects, key, source, chunk_size=_PART, max_concurrency=2)
                self._sync(key)
        return Stored(sha256, size, found is None)

    def get(self, sha256: Digest, device: str = "") -> Iterator[bytes]:
        """The file in chunks of about `CHUNK`. A consumer that stops early has nothing verified.

        Raises StoreError if it is not there or, after the last chunk, if it is not what its digest says: the object was
        then moved to ``aside/``, and the next `put` writes it again.
        """
        key = self.key(sha256, device)
        digest, size = hashlib.sha256(), 0
        with _meant(key):
            for chunk in obstore.get(self.objects, key).stream(min_chunk_size=CHUNK):
                part = bytes(chunk)
                digest.update(part)
                if (size := size + len(part)) > MAX_FILE:
                    break
                yield part
            if digest.hexdigest() == sha256:
                return
            with contextlib.suppress(FileNotFoundError):  # another reader was first
                obstore.copy(self.objects, key, f"{ASIDE}/{key}")
                obstore.delete(self.objects, key)
        raise StoreError(
            f"{key}: is not what its digest says, {size} bytes; kept as {ASIDE}/{key}, put it again"
        )

    def read(self, sha256: Digest, device: str = "", limit: int = MAX_FILE) -> bytes:
        """The whole file, verified. Raises StoreError as `get`, and for more than `limit` bytes."""
        if (size := self.size(sha256, device)) is not None and size > limit:
            raise StoreError(f"{self.key(sha256, device)}: {size} bytes where at most {limit} are taken")
        return b"".join(self.get(sha256, device))

    def size(self, sha256: Digest, device: str = "") -> int | None:
        """Bytes of the file; None if it is not there. Raises StoreError."""
        key = self.key(sha256, device)
        with _meant(key):
            found = self._head(key)
            return None if found is None else int(found["size"])

    def has(self, sha256: Digest, device: str = "") -> bool:
        """Whether the file is there; its content is not read. Raises StoreError."""
        return self.size(sha256, device) is not None

    def delete(self, sha256: Digest, device: str = "") -> None:
        """Removes the file, if it is there. Raises StoreError."""
        key = self.key(sha256, device)
        with _meant(key), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.objects, key)

    def url(self, sha256: Digest, device: str = "", expires_s: float = 3600.0) -> str:
        """Where a device reads the file: below `base_url`, on the local disk, or presigned. Raises StoreError."""
        key = self.key(sha256, device)
        if self.base_url:
            return f"{self.base_url}/{key}"
        if self._root is not None:
            return (self._root / key).as_uri()
        with _meant(key):
            if isinstance(self.objects, MemoryStore):
                raise StoreError("a store in memory has no URLs; give it a base_url")
            return obstore.sign(self.objects, "GET", key, datetime.timedelta(seconds=expires_s))

    def _head(self, key: str) -> Any:
        try:
            return obstore.head(self.objects, key)
        except FileNotFoundError:
            return None

    def _sync(self, key: str) -> None:
        """Makes a new local file outlast a power cut; other stores do so themselves."""
        if self._root is not None and os.name != "nt":
            path = self._root / key
            for place in (path, path.parent, path.parent.parent, path.parent.parent.parent):
                handle = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def _age_s(found: Any) -> float:
    """Seconds since an object was written."""
    now = datetime.datetime.now(datetime.UTC)
    return float((now - found["last_modified"]).total_seconds())


def _chunks(source: Path | Iterable[bytes]) -> Iterator[bytes]:
    if not isinstance(source, Path):
        yield from source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


@contextlib.contextmanager
def _meant(what: str) -> Iterator[None]:
    """Raises StoreError for what an object store or a disk raises."""
    try:
        yield
    except (StoreError, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise StoreError(f"{what}: is not in the store; put it first") from error
    except Exception as error:  # obstore's errors have no common base
        raise StoreError(
            f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
