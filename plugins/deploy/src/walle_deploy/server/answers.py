"""Refusals as JSON: what was wrong, and what to do; the same for every path."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

import msgspec

from walle_deploy.errors import DeployError, PolicyError, ReleaseError, StoreError, TaskError, TrustError
from walle_deploy.server.logs import Throttled

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON = b"application/json"

_STATUS: Mapping[type[Exception], int] = {
    PolicyError: 400,
    TaskError: 400,
    ReleaseError: 409,
    TrustError: 409,
    StoreError: 409,
    DeployError: 400,
    msgspec.MsgspecError: 400,
}
_log = Throttled()
_T = TypeVar("_T")


class ApiError(DeployError):
    """A request that is refused.

    Attributes:
        status: of HTTP.
        fix: what to do.
        wait: seconds after which it may be tried again.
    """

    def __init__(self, status: int, error: str, fix: str = "", wait: float | None = None) -> None:
        super().__init__(error)
        self.status, self.fix, self.wait = status, fix, wait


class Problem(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: str
    fix: str = ""


def problem(error: Exception) -> tuple[int, Problem, Headers]:
    """Status, body and headers for what a handler raised; 500 for what nobody thought of."""
    wait = getattr(error, "wait", None)
    headers = [(b"retry-after", b"%d" % max(1, math.ceil(wait)))] if isinstance(wait, float | int) else []
    if isinstance(error, ApiError):
        return error.status, Problem(str(error), error.fix), headers
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        found = (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
        status = next(found, None)
    if status is None:
        return 500, Problem("the server failed", "try again; its log says more"), []
    what, divided, fix = str(error).rpartition("; ")
    return status, Problem(what, fix) if divided else Problem(fix), headers


def encoded(body: Problem) -> bytes:
    """As JSON; texts that are no Unicode come out replaced."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        clean = (text.encode(errors="replace").decode() for text in (body.error, body.fix))
        return msgspec.json.encode(Problem(*clean))


async def reply(
    send: Send,
    status: int,
    body: bytes = b"",
    kind: bytes = JSON,
    headers: Headers = (),
    *,
    head: bool = False,
) -> None:
    """A whole answer."""
    about = [(b"content-type", kind), (b"content-length", b"%d" % len(body))] if body else []
    if not body and status not in {204, 304}:
        about = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def refuse(scope: Scope, send: Send, error: Exception, whose: str = "") -> int:
    """Answers with what was wrong, logs it, and returns the status.

    Args:
        scope: of the request.
        send: to the client.
        error: what was raised.
        whose: request it was, as far as that is known.
    """
    status, body, headers = problem(error)
    client = scope.get("client")
    _log(
        "request failed" if status == 500 else "request refused",
        logging.ERROR if status == 500 else logging.WARNING,
        status=status,
        method=scope["method"],
        path=scope["path"][:200],
        error=body.error if status != 500 else f"{type(error).__name__}: {error}",
        who=whose,
        client=client[0] if client else "",
    )
    if status == 500:
        logging.getLogger(__name__).error("failure", exc_info=error)
    close = [(b"connection", b"close")] if status in {408, 413} else []
    await reply(send, status, encoded(body), headers=[*headers, *close], head=scope["method"] == "HEAD")
    return status


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body of a request. Raises ApiError for more than `limit` bytes, ConnectionError if the client went away."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise ApiError(
                413,
                f"a body of {value.decode('latin-1')[:20]} bytes; at most {limit} are read",
                "make it smaller",
            )
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):  # nearly always all of it is there
        body = message.get("body", b"")
        if len(body) <= limit:
            return bytes(body)
    parts, size = [], 0
    while True:
        if message["type"] != "http.request":
            raise ConnectionError("the client went away")
        parts.append(message.get("body", b""))
        if (size := size + len(parts[-1])) > limit:
            raise ApiError(413, f"a body of more than {limit} bytes", "make it smaller")
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


async def disconnected(receive: Receive) -> None:
    """Ends when the client is gone; what it still sends is not read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def decoded(decode: Callable[[bytes], _T], body: bytes, what: str) -> _T:
    """What a msgspec decoder makes of a body. Raises ApiError."""
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ApiError(400, f"{what}: {error}", "see the documentation of what is taken") from error
    except RecursionError as error:
        raise ApiError(400, f"{what}: nested too deeply", "make it flatter") from error


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this name, in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def bearer(scope: Scope) -> str:
    """The token of ``Authorization: Bearer``; "" if there is none."""
    value = header(scope, b"authorization") or b""
    return value[7:].decode("latin-1").strip() if value[:7].lower() == b"bearer " else ""
