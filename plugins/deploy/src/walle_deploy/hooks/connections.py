"""Requests to one server over connections that are kept: HTTP/1.1 with small bodies, and nothing else of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from urllib.parse import urlsplit

import attrs

from walle_deploy.errors import HookError

MAX_HEAD = 16_384  # bytes of status line and headers

_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@attrs.frozen
class Reply:
    """What the server said; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connections:
    """A pool of connections to the server of `url`, for one event loop at a time.

    Arguments:
        most: connections at the same time; more requests wait.
        timeout: seconds of one request, waiting and connecting included.
        tls: for https; default: the system's trust.

    Raises HookError for a URL that is none.
    """

    def __init__(self, url: str, most: int, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise HookError(f"{url!r:.200}: {error}") from error
        if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\x21-\x7e]+", url):
            raise HookError(f"{url!r:.200}: wanted the URL of a server, as https://host")
        secure = parts.scheme == "https"
        self._host, self._port = host, port or (443 if secure else 80)
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._path = parts.path.rstrip("/")
        self._head = f"Host: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: walle\r\n"
        self._most, self._timeout = most, timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: list[_Stream] = []
        self._room = asyncio.Semaphore(most)

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes, limit: int) -> Reply:
        """One request; a connection that the server has closed meanwhile is replaced once.

        Raises ConnectionError or OSError if there is no answer, or one with a body of more than `limit` bytes;
        TimeoutError after the time.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{lines}Content-Length: {len(body)}\r\n\r\n"
        )
        if not head.isascii() or head.count("\n") != len(headers) + 5:
            raise HookError("a header has characters that none may have")
        self._enter()
        data = head.encode() + body
        async with asyncio.timeout(self._timeout), self._room:
            while self._free:
                stream = self._free.pop()
                try:
                    return await self._exchange(stream, data, limit)
                except _GoneError:
                    continue
            try:
                opened = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=MAX_HEAD)
                return await self._exchange(opened, data, limit)
            except _GoneError as error:
                raise ConnectionError("the server closed the connection without an answer") from error

    async def close(self) -> None:
        """Closes what is open and not in use; the next request opens another one."""
        free, self._free = self._free, []
        for _, writer in free:
            writer.close()
        for _, writer in free:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _enter(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._free, self._room = loop, [], asyncio.Semaphore(self._most)

    async def _exchange(self, stream: _Stream, data: bytes, limit: int) -> Reply:
        reader, writer = stream
        kept = False
        try:
            writer.write(data)
            reply = await _read(reader, limit)
            kept = reply.headers.get("connection", "").lower() != "close"
        finally:
            if kept:
                self._free.append(stream)
            else:
                writer.close()
        return reply


class _GoneError(ConnectionError):
    """The connection was closed before a byte of an answer came."""


async def _read(reader: asyncio.StreamReader, limit: int) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the answer ends in its head") if error.partial else _GoneError from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise _GoneError from error
    except asyncio.LimitOverrunError as error:
        raise ConnectionError(f"the answer's head has more than {MAX_HEAD} bytes") from error
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or words[0] not in ("HTTP/1.1", "HTTP/1.0") or not words[1].isdecimal():
        raise ConnectionError(f"no HTTP: {first!r:.80}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if words[0] == "HTTP/1.0":
        headers["connection"] = "close"
    status = int(words[1])
    if status in (204, 304):
        return Reply(status, headers, b"")
    try:
        body = await _body(reader, headers, limit)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise ConnectionError(f"the answer's body is broken: {error}") from error
    return Reply(status, headers, body)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], limit: int) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        size = int(headers["content-length"]) if "content-length" in headers else limit + 1
        if not 0 <= size <= limit:
            raise ConnectionError(f"an answer without an end, or of more than {limit} bytes")
        return await reader.readexactly(size)
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        if not 0 < size <= limit - len(body):
            raise ConnectionError(f"an answer of more than {limit} bytes")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body
