"""Where a version's files are, from the base URL of a signed answer; what is fetched there is verified by its digest."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import attrs

from walle_deploy.deltas.contract import Delta
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.fetch import Source
from walle_deploy.install.transport import Transport
from walle_deploy.manifest import Digest, File, Manifest
from walle_deploy.trust import EXCLUSIVE, Approved

SMALL = 4096  # bytes of a file, below which no delta is worth a request
MAX_LIST = 16 << 10  # bytes of a list of deltas
_PREFIX = re.compile(r"(.*)/devices/[A-Za-z0-9_-]{1,128}")
_log = logging.getLogger(__name__)


@attrs.frozen
class Places:
    """The URLs of one answer's base.

    Attributes:
        shared: below it are ``files`` and ``deltas``.
        own: below it are the files of this device alone; "" if it has none.
    """

    shared: str
    own: str = ""

    @classmethod
    def of(cls, approved: Approved, server: str) -> Places:
        """Raises StoreError for a base that is no URL. One without a host is a path on the server itself."""
        base = approved.base.rstrip("/")
        try:
            full = base if urlsplit(base).scheme else urljoin(f"{server}/", base).rstrip("/")
        except ValueError as error:
            raise StoreError(f"task {approved.task!r}: {base!r} is no URL: {error}") from error
        if not approved.flags & EXCLUSIVE:
            return cls(full)
        found = _PREFIX.fullmatch(full)
        if found is None:
            raise StoreError(f"task {approved.task!r}: {full} is no place of files for one device")
        return cls(found[1], full)

    def url(self, file: File) -> str:
        """Of a file. Raises StoreError for an exclusive one where the answer names no place for them."""
        if not file.exclusive:
            return self._of(f"{self.shared}/files", file.sha256)
        if not self.own:
            raise StoreError(f"file {file.path!r} is for one device only, and the answer does not say where")
        return self._of(self.own, file.sha256)

    def delta(self, delta: Delta) -> str:
        """URL of a delta."""
        return self._of(f"{self.shared}/files", delta.sha256)

    def deltas(self, sha256: Digest) -> str:
        """URL of the list of deltas to a file."""
        return f"{self.shared}/deltas/{sha256}"

    @staticmethod
    def _of(folder: str, sha256: Digest) -> str:
        return f"{folder}/{sha256[:2]}/{sha256[2:]}"


def sources(
    manifest: Manifest,
    places: Places,
    transport: Transport,
    have: Callable[[Digest], Path | None],
    deltas: bool,
) -> Mapping[Digest, Source]:
    """Sources of the files that are not here; with `deltas`, by those whose old file is. Raises StoreError."""
    found: dict[Digest, Source] = {}
    for file in manifest.files:
        if file.sha256 in found or have(file.sha256) is not None:
            continue
        ways: list[tuple[Delta, str]] = []
        if deltas and file.size >= SMALL and not file.exclusive:
            listed = _listed(file, places.deltas(file.sha256), transport)
            ways = [(d, places.delta(d)) for d in listed if not d.base or have(d.base) is not None]
        found[file.sha256] = Source(places.url(file), tuple(ways))
    return found


def _listed(file: File, url: str, transport: Transport) -> tuple[Delta, ...]:
    """The deltas to a file; none, whatever is wrong: there is the file itself."""
    from walle_deploy.store.deltas_index import decode

    try:
        return decode(b"".join(_bounded(transport.read(url, 0))))
    except (OSError, DeployError) as error:
        _log.debug("file %s: no deltas: %s", file.path, error)
        return ()


def _bounded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_LIST:
            raise StoreError(f"a list of more than {MAX_LIST} bytes")
        yield chunk
