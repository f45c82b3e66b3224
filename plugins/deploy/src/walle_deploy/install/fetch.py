"""Fetches files by digest: resumed, verified as they come, by delta where that is less."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from walle_core.registry import Registry
from walle_deploy.deltas.contract import FULL, Codec, Delta, applied, codecs
from walle_deploy.errors import StoreError
from walle_deploy.install.disk import Disk
from walle_deploy.install.part import Part
from walle_deploy.install.transport import Transport
from walle_deploy.install.versions import is_file
from walle_deploy.manifest import Digest, File

_log = logging.getLogger(__name__)


@attrs.frozen
class Source:
    """Where a file can be had.

    Attributes:
        url: of the file itself.
        deltas: ways from files that the device may have, and their URLs.
    """

    url: str
    deltas: tuple[tuple[Delta, str], ...] = ()


@attrs.frozen
class Patience:
    """When a fetch gives up.

    Attributes:
        tries: in a row that bring nothing.
        wait_s: before the second try; doubled for each further one, up to `longest_s`, and drawn by chance below that.
        longest_s: see `wait_s`.
        deadline_s: for one file with all its tries.
    """

    tries: int = 5
    wait_s: float = 1.0
    longest_s: float = 60.0
    deadline_s: float = 900.0


class Fetcher:
    """Fetches into one folder; for one thread.

    Args:
        transport: reads URLs.
        folder: where finished files are called by their digests, and ``.part`` files wait to be resumed.
        have: where a file of a digest is, None if it is not on this device; its content is checked before it is used.
        registry: of delta codecs; `codecs()` if not given.
        patience: when to give up.
        disk, clock, sleep: the world, for tests.
    """

    def __init__(
        self,
        transport: Transport,
        folder: Path,
        have: Callable[[Digest], Path | None] = lambda sha256: None,
        registry: Registry[Codec] | None = None,
        patience: Patience = Patience(),
        disk: Disk | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._have = have
        self._codecs = codecs() if registry is None else registry
        self._patience = patience
        self._disk = disk or Disk()
        self._clock = clock
        self._sleep = sleep
        self.bytes = 0  # read from the transport

    def fetch(self, file: File, source: Source) -> Path:
        """The file, verified and synced; deltas are tried first, the smallest first. Raises StoreError."""
        try:
            for path in (self._folder / file.sha256, self._have(file.sha256)):
                if path is not None and is_file(path, file.sha256, file.size):
                    return path
            deadline = self._clock() + self._patience.deadline_s
            for delta, url in sorted(source.deltas, key=lambda pair: pair[0].size):
                if (
                    delta.size < file.size
                    and (path := self._by_delta(file, delta, url, deadline)) is not None
                ):
                    return path
            path = self._pull(file.sha256, file.size, source.url, deadline)
            for delta, _ in source.deltas:  # what came of them is of no more use
                Part(self._disk, self._folder, delta.sha256, delta.size).drop()
        except OSError as error:
            raise StoreError(f"file {file.path!r}: {error}") from error
        return path

    def _by_delta(self, file: File, delta: Delta, url: str, deadline: float) -> Path | None:
        """The file by way of a delta; None if that does not work, whatever the reason."""
        if delta.codec not in self._codecs or not (delta.base or delta.codec == FULL):
            return None
        pulled = None
        try:
            old = self._base(delta)
            if old is None:
                return None
            pulled = self._pull(delta.sha256, delta.size, url, deadline)
            made = applied(self._codecs.get(delta.codec), old, pulled.read_bytes(), file.size, file.sha256)
            target = self._folder / file.sha256
            self._disk.replace(target, made)
        except StoreError as error:
            _log.warning("file %s: delta of codec %s failed: %s", file.path, delta.codec, error)
            return None
        else:
            return target
        finally:
            if pulled is not None:
                self._disk.remove(pulled)

    def _base(self, delta: Delta) -> bytes | None:
        """The old file that a delta needs; None if it is not here, or damaged."""
        if not delta.base:
            return b""
        path = self._have(delta.base)
        data = path.read_bytes() if path is not None and path.is_file() else b""
        return data if hashlib.sha256(data).hexdigest() == delta.base else None

    def _pull(self, sha256: Digest, size: int, url: str, deadline: float) -> Path:
        """What is at `url`, with retries, resumed where an earlier try or process ended."""
        part = Part(self._disk, self._folder, sha256, size)
        failed, wrong = 0, 0
        while True:
            part.resume()
            start = part.size
            try:
                self._read(part, url, deadline)
                if part.digest == sha256:
                    return part.finish()
                part.drop()
                if (wrong := wrong + 1) > 1 or not start:
                    raise StoreError(f"{url}: its content is not {sha256}")
                continue
            except _Lost as error:
                failed = 0 if part.size > start else failed + 1
                wait = min(self._patience.longest_s, self._patience.wait_s * 2.0**failed) * random.random()  # noqa: S311
                if failed >= self._patience.tries or self._clock() + wait > deadline:
                    raise StoreError(
                        f"{url}: {error}; {part.size} of {size} bytes are here, try later"
                    ) from error
                _log.info("%s: %s; again in %.1f s", url, error, wait)
            self._sleep(wait)

    def _read(self, part: Part, url: str, deadline: float) -> None:
        """Reads until `part` has its size. Raises _Lost for what may be tried again; what came by then is kept."""
        if part.size == part.goal:
            return
        try:
            with contextlib.closing(_Stream(self._transport, url, part.size)) as chunks:
                while part.size <= part.goal and (chunk := chunks.next()) is not None:
                    self.bytes += len(chunk)
                    part.add(chunk)
                    if self._clock() > deadline:
                        raise _Lost("the deadline has come")
        except BaseException:
            with contextlib.suppress(OSError):
                part.flush()
            raise
        if part.size > part.goal:
            part.drop()
            raise StoreError(f"{url}: more than the declared {part.goal} bytes")
        part.flush()
        if part.size < part.goal:
            raise _Lost(f"ended after {part.size} of {part.goal} bytes")


class _Lost(Exception):
    """A try that ended early."""


class _Stream:
    """What a transport reads; its OSErrors are told from those of the disk."""

    def __init__(self, transport: Transport, url: str, offset: int) -> None:
        self._chunks = iter(transport.read(url, offset))

    def next(self) -> bytes | None:
        """The next chunk, None at the end."""
        try:
            return next(self._chunks, None)
        except OSError as error:
            raise _Lost(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Ends the connection."""
        if (close := getattr(self._chunks, "close", None)) is not None:
            close()
