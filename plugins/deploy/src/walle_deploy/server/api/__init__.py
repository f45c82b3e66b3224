"""The operators' API below ``/api/v1``: authenticates, checks rights, reads what was sent, calls, and writes what comes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from walle_deploy.server.answers import (
    JSON,
    ApiError,
    Receive,
    Scope,
    Send,
    bearer,
    decoded,
    encoded,
    header,
    problem,
    read_body,
    refuse,
    reply,
)
from walle_deploy.server.api import events, images, people, releases, tasks, uploads
from walle_deploy.server.api.openapi import describe
from walle_deploy.server.api.routing import PLACES, PREFIX, Call, Operation
from walle_deploy.server.limits import Buckets
from walle_deploy.server.logs import event
from walle_deploy.server.services import Services

OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for module in (tasks, releases, people, images, uploads, events)
    for operation in module.operations
)
CALLS_PER_S, CALLS_AT_ONCE = 50.0, 200  # of one token

_SEE = f"see {PREFIX}/openapi.json"
_encode = msgspec.json.Encoder().encode


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation, services: Services, calls: Buckets) -> None:
        self.operation, self._services, self._calls = operation, services, calls
        self._decode = None if operation.body is None else msgspec.json.Decoder(operation.body).decode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        start, who, status = perf_counter(), "", 499
        try:
            call = await self._read(scope, receive)
            who = call.who
            if self.operation.raw is not None:
                await self.operation.raw(call, scope, receive, send)
                status = self.operation.status
            else:
                assert self.operation.function is not None
                made = await self._services.apart(self.operation.function, call)
                status = self.operation.status if self.operation.returns is None or made is not None else 204
                body = b"" if status == 204 else _encode(made)
                await reply(send, status, body, headers=[(b"cache-control", b"no-store")])
        except ConnectionError:
            pass  # nobody is there to be told
        except Exception as error:
            status = await refuse(scope, send, _meant(error), who)
        self._services.metrics.count("api_requests", str(status))
        self._services.metrics.api.add(perf_counter() - start)
        if status < 400 and scope["method"] not in {"GET", "HEAD"}:
            event("changed", method=scope["method"], path=scope["path"], who=who, status=status)
        else:
            logging.getLogger(__name__).debug("%s %s %s", scope["method"], scope["path"], status)

    async def _read(self, scope: Scope, receive: Receive) -> Call:
        """Who asks for what. Raises ApiError, msgspec.MsgspecError."""
        address = (scope.get("client") or ("",))[0]
        operator = await self._services.allowed(bearer(scope), self.operation.right, address)
        if wait := self._calls.wait(str(operator.id)):
            raise ApiError(429, "too many requests with this token", "wait", wait)
        place = {
            name: _converted(f"{name} in the path", value, PLACES[name])
            for name, value in scope["path_params"].items()
        }
        query = None if self.operation.query is None else _query(scope, self.operation.query)
        body = None
        if self._decode is not None:
            kind = (header(scope, b"content-type") or b"").split(b";")[0].strip().lower()
            if kind != JSON:
                raise ApiError(
                    415, f"the content type {kind.decode('latin-1')[:80]!r}", "send application/json"
                )
            body = decoded(self._decode, await read_body(scope, receive, self.operation.limit), "the body")
        return Call(self._services, operator, place, query, body)


def _meant(error: Exception) -> Exception:
    """JSON that is too deep, or texts that no UTF-8 can hold, are the sender's mistakes."""
    if isinstance(error, RecursionError):
        return ApiError(400, "nested too deeply", "make it flatter")
    if isinstance(error, UnicodeError):
        return ApiError(400, "a text that is no Unicode", "send UTF-8 without surrogates")
    return error


def _converted(what: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise ApiError(400, f"{what}: {error}", _SEE) from error


def _query(scope: Scope, kind: Any) -> Any:
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict"
        )
    except (UnicodeError, ValueError) as error:
        raise ApiError(400, f"the query cannot be read: {error}", _SEE) from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ApiError(400, "a parameter of the query comes twice", "send it once")
    return _converted("the query", values, kind)


def api(services: Services) -> Starlette:
    """Everything that devices do not ask for: the API, its description, and the dashboard if it is there."""
    calls = Buckets(CALLS_PER_S, CALLS_AT_ONCE, 1 << 12)
    document = _encode(describe(OPERATIONS))

    async def description(request: Request) -> Response:
        return Response(document, media_type="application/json")

    routes: list[BaseRoute] = [Route(f"{PREFIX}/openapi.json", description)]
    for path, some in _by_path(OPERATIONS):
        routes.append(
            Route(PREFIX + path, _Methods({op.method: Endpoint(op, services, calls) for op in some}))
        )
    routes.append(Route("/api/{rest:path}", _Nothing()))
    return Starlette(
        routes=[*routes, *_pages(services)],
        exception_handlers={HTTPException: _http, Exception: _failed},  # type: ignore[dict-item]
    )


class _Methods:
    """The operations of one path."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._allowed = ", ".join(sorted(endpoints)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        found = self._endpoints.get(method) or (self._endpoints.get("GET") if method == "HEAD" else None)
        if found is not None:
            await found(scope, receive, send)
            return
        status, body, _ = problem(
            ApiError(405, f"{method} is not allowed here", f"use {self._allowed.decode()}")
        )
        await reply(send, status, encoded(body), headers=[(b"allow", self._allowed)])


def _by_path(operations: Iterable[Operation]) -> Iterable[tuple[str, list[Operation]]]:
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.path, []).append(operation)
    return sorted(found.items(), key=lambda pair: pair[0].count("{"))  # names win over places


def _pages(services: Services) -> list[BaseRoute]:
    """The dashboard; none without what its extra installs."""
    if find_spec("jinja2") is None:
        return []
    from walle_deploy.server.pages.app import pages

    made = pages(
        services.platform,
        services.tokens,
        secret=services.secret,
        files=services.store,
        images=services.images,
        hub=services.hub,
        gates=services.gates,
        costs=None if services.cloud is None else services.cloud.costs,
    )
    return [Mount("/", made)]


class _Nothing:
    """All other paths below ``/api``, whatever the method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, send, ApiError(404, f"there is no {scope['path'][:200]!r}", _SEE))


async def _http(request: Request, error: HTTPException) -> Response:
    fix = _SEE if error.status_code == 404 else ""
    what = f"there is no {request.url.path[:200]!r}" if error.status_code == 404 else str(error.detail)
    _, body, _ = problem(ApiError(error.status_code, what, fix))
    return Response(
        encoded(body), error.status_code, media_type="application/json", headers=dict(error.headers or {})
    )


async def _failed(request: Request, error: Exception) -> Response:
    _, body, _ = problem(RuntimeError())
    return Response(encoded(body), 500, media_type="application/json")
