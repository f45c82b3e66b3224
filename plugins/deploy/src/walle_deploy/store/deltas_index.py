"""Which deltas lead to a file: one small object beside the files, which nothing trusts, since what a delta makes is verified."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec
import obstore

from walle_deploy.deltas.contract import Delta
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.manifest import Digest, check_digest
from walle_deploy.store.files import FileStore, _meant

PREFIX = "deltas"
MAX_DELTAS = 16  # of one file
MAX_INDEX = 16 << 10  # bytes of the object


def encode(deltas: Iterable[Delta]) -> bytes:
    """A JSON list, the smallest delta first."""
    return msgspec.json.encode(sorted(deltas, key=lambda delta: (delta.size, delta.base, delta.codec)))


def decode(data: bytes) -> tuple[Delta, ...]:
    """The deltas of a list. Raises StoreError if it is malformed or too long."""
    if len(data) > MAX_INDEX:
        raise StoreError(f"a list of deltas of {len(data)} bytes; at most {MAX_INDEX} are read")
    try:
        found = msgspec.json.decode(data, type=tuple[Delta, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DeployError) as error:
        raise StoreError(f"no list of deltas: {error}; publish the version again") from error
    if len(found) > MAX_DELTAS:
        raise StoreError(f"a list of {len(found)} deltas; at most {MAX_DELTAS} are read")
    return found


class DeltaIndex:
    """The deltas of shared files, at ``deltas/<digest of the new file>`` in a store; the deltas themselves are shared files.

    Deltas of exclusive files would show their content to other devices: there are none.
    """

    def __init__(self, store: FileStore) -> None:
        self.store = store

    def key(self, sha256: Digest) -> str:
        """Name of the object. Raises DeployError."""
        return f"{PREFIX}/{check_digest(sha256)}"

    def read(self, sha256: Digest) -> bytes | None:
        """The list as a device gets it; None if there is none. Raises StoreError."""
        key = self.key(sha256)
        with _meant(key):
            try:
                return bytes(obstore.get(self.store.objects, key).bytes())
            except FileNotFoundError:
                return None

    def get(self, sha256: Digest) -> tuple[Delta, ...]:
        """The deltas that lead to a file. Raises StoreError if the list is damaged."""
        data = self.read(sha256)
        return () if data is None else decode(data)

    def put(self, sha256: Digest, deltas: Iterable[Delta]) -> tuple[Delta, ...]:
        """Adds deltas, whose files are in the store, and returns what is listed then; for each base, the smallest stays.

        Of more than `MAX_DELTAS`, those that were there before are dropped. Raises StoreError.
        """
        fresh = list(deltas)
        for delta in fresh:
            if self.store.size(delta.sha256) != delta.size:
                raise StoreError(
                    f"delta {delta.sha256} of {delta.size} bytes is not in the store; put it first"
                )
        try:
            known = self.get(sha256)
        except StoreError:
            known = ()  # a damaged list is written anew
        best: dict[str, Delta] = {}
        for delta in (*fresh, *known):
            if delta.base != sha256 and (delta.base not in best or delta.size < best[delta.base].size):
                best[delta.base] = delta
        kept = tuple(list(best.values())[:MAX_DELTAS])
        self._write(sha256, kept)
        return kept

    def keep(self, sha256: Digest, bases: Any) -> tuple[Delta, ...]:
        """Drops the deltas whose base is not among `bases`; returns those that stay. Raises StoreError."""
        known = self.get(sha256)
        kept = tuple(delta for delta in known if not delta.base or delta.base in bases)
        if kept != known:
            self._write(sha256, kept)
        return kept

    def _write(self, sha256: Digest, deltas: Iterable[Delta]) -> None:
        key, found = self.key(sha256), list(deltas)
        with _meant(key), contextlib.suppress(FileNotFoundError):
            if found:
                obstore.put(self.store.objects, key, encode(found))
                self.store._sync(key)
            else:
                obstore.delete(self.store.objects, key)
