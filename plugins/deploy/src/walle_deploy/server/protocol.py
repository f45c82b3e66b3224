"""HTTP/1.1 for uvicorn with an end to everything a client can stretch: headers, waiting, and the time that a body takes."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from walle_deploy.server.corking import Corked
from walle_deploy.server.logs import Throttled

MAX_HEAD = 32 << 10  # bytes of a request's line and headers
MAX_HEADERS = 100
HEAD_S = 10.0  # in which a connection brings a request's line and headers
BODY_S = 20.0  # in which a body brings its first bytes, and the time that it may be late
BODY_RATE = 4096  # bytes a second that a body must bring after BODY_S
STUCK_S = 30.0  # in which a client must read something of what waits for it
SWEEP_S = 1.0

_log = Throttled()


class Http(HttpToolsProtocol):
    """One connection. One timer for all connections of the process ends those that do not get on."""

    _open: ClassVar[set[Http]] = set()
    _sweeper: ClassVar[asyncio.TimerHandle | None] = None

    corked: Corked
    began = 0.0  # when the request's head began to come; 0.0 while none is coming
    head = 0  # bytes of it, while it is incomplete
    body_began = 0.0  # when the body began to come; 0.0 while none is coming
    body_size = 0
    stuck = 0.0  # since when the client reads nothing; 0.0 while it does

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.corked = Corked(transport, self.loop)
        self.transport = self.corked  # type: ignore[assignment]  # it has all that is asked of one
        self.began = self.loop.time()
        Http._open.add(self)
        if Http._sweeper is None:
            Http._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        Http._open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self.began and self.parser is not None:
            self.head += len(data)
            if self.head > MAX_HEAD:
                self.refuse(431, f"a head of more than {MAX_HEAD} bytes", "send fewer and shorter headers")

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self.began, self.head = self.loop.time(), 0

    def on_headers_complete(self) -> None:
        """See httptools."""
        if self.transport.is_closing():
            return
        headers = self.headers
        if len(headers) > MAX_HEADERS or sum([len(n) + len(v) for n, v in headers]) > MAX_HEAD - len(
            self.url
        ):
            self.refuse(
                431,
                f"more than {MAX_HEADERS} headers, or {MAX_HEAD} bytes of them",
                "send fewer, and shorter ones",
            )
            return
        self.began = 0.0
        self.body_began, self.body_size = self.loop.time(), 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if self.cycle is not None:
            self.body_size += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self.body_began = 0.0
        if self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """See HttpToolsProtocol. Answers to requests that came together go together."""
        super().on_response_complete()
        if not self.pipeline:
            self.corked.flush()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.stuck = 0.0
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """See HttpToolsProtocol; the connection is another protocol's from now on."""
        Http._open.discard(self)
        self.corked.flush()
        self.transport = self.corked.plain
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """As JSON, like every other refusal."""
        self.refuse(400, "no HTTP/1.1 request", "see the address, the port, and whether it is http or https")

    def refuse(self, status: int, error: str, fix: str) -> None:
        """Answers and ends the connection."""
        _log("connection refused", status=status, error=error, client=self.client and self.client[0])
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # in the middle of another answer nothing can be said
            return
        body = msgspec.json.encode({"error": error, "fix": fix})
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(
            body
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(Http._open):
            connection._judge(now)
        Http._sweeper = self.loop.call_later(SWEEP_S, self._sweep) if Http._open else None

    def _judge(self, now: float) -> None:
        if self.stuck and now - self.stuck > STUCK_S:
            _log(
                "connection dropped", error="the client reads nothing", client=self.client and self.client[0]
            )
            self.transport.abort()
        elif self.began and now - self.began > HEAD_S and not self.head:
            self.transport.close()  # nobody asked: an answer would be taken for that to a later request
        elif self.began and now - self.began > HEAD_S:
            self.refuse(408, f"no whole request within {HEAD_S:g} s", "send it faster")
        elif self.body_began and not self.flow.read_paused:
            late = now - self.body_began - self.body_size / BODY_RATE
            if late > BODY_S:
                _log(
                    "connection dropped",
                    error="a body that hardly comes",
                    client=self.client and self.client[0],
                )
                self.transport.abort()
