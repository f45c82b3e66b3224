"""Files from an untrusted place, with an end to their size and to the time they take."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from tuf.api.exceptions import DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface  # type: ignore[attr-defined]

from walle_deploy.errors import TrustError

_CHUNK = 65_536


class Transport(Protocol):
    """Where metadata and manifests lie."""

    def open(self, path: str, timeout: float) -> Iterator[bytes]:
        """The pieces of a file, as they come; raises FileNotFoundError when it is not there, OSError else."""
        ...


class FolderTransport:
    """A folder, as ImageRepository publishes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def open(self, path: str, timeout: float) -> Iterator[bytes]:
        """See Transport."""
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder):
            raise PermissionError(f"{path} leads out of {self._folder}")
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk


class HttpTransport:
    """A web server or a CDN; connections are kept."""

    def __init__(self, base: str, pool: urllib3.PoolManager | None = None) -> None:
        """``base`` is the URL of the published folder. Raises TrustError when it is none."""
        if urlsplit(base).scheme not in {"http", "https"}:
            raise TrustError(f"{base!r}: expected the http or https URL of an image repository")
        self._base = base.rstrip("/")
        self._pool = pool or urllib3.PoolManager(
            retries=urllib3.Retry(connect=1, read=0, redirect=3, other=0)
        )

    def open(self, path: str, timeout: float) -> Iterator[bytes]:
        """See Transport."""
        headers = {"Accept-Encoding": "identity"}
        try:
            answer = self._pool.request(
                "GET",
                f"{self._base}/{path}",
                headers=headers,
                timeout=timeout,
                preload_content=False,
                decode_content=False,
            )
            try:
                if answer.status in {403, 404}:
                    raise FileNotFoundError(f"{self._base}/{path}")
                if answer.status != 200:
                    raise ConnectionError(f"{self._base}/{path}: HTTP status {answer.status}")
                while chunk := answer.read1(_CHUNK, decode_content=False):
                    yield chunk
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(f"{self._base}/{path}: {error}") from error


class Fetcher(FetcherInterface):
    """What python-tuf downloads with: every file of one refresh shares one deadline."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._transport = transport
        self._end = time.monotonic() + seconds
        self._seconds = seconds

    def _fetch(self, url: str) -> Iterator[bytes]:
        remaining = self._end - time.monotonic()
        pieces = before(self._end, lambda: self._transport.open(url, max(remaining, 0.001)))
        try:
            yield from pieces
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{url} is not there", 404) from error
        except TimeoutError as error:
            raise SlowRetrievalError(f"{url}: not complete after {self._seconds:g} s") from error


def before(end: float, open_pieces: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """The pieces of a file until a monotonic time; TimeoutError then, even when the source blocks for ever."""
    box: queue.Queue[bytes | Exception | None] = queue.Queue(4)
    over = threading.Event()

    def offer(piece: bytes | Exception | None) -> bool:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                box.put(piece, timeout=0.05)
                return True
        return False

    def read() -> None:
        try:
            pieces = open_pieces()
            while (piece := next(pieces, None)) is not None:
                if not offer(piece):
                    return
            offer(None)
        except Exception as error:
            offer(error)

    threading.Thread(target=read, name="walle-fetch", daemon=True).start()
    try:
        while True:
            try:
                piece = box.get(timeout=max(end - time.monotonic(), 0))
            except queue.Empty:
                raise TimeoutError("the deadline has passed") from None
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            if time.monotonic() > end:
                raise TimeoutError("the deadline has passed")
            yield piece
    finally:
        over.set()
