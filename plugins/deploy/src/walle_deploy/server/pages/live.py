"""What happens to releases, as it happens: a stream of server-sent events for those who have logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages.asking import whole
from walle_deploy.server.pages.site import Site, Visit

RETRY_MS = 2000  # after which a browser connects again


async def stream(site: Site, request: Request) -> Response:
    """GET /live: what changed of all releases or of ``?release=ID``, and an event `time` after a silence."""
    visit = await site.visit(request)
    if visit.operator is None:
        return Response(status_code=401)
    try:
        text = request.query_params.get("release", "")
        messages = _messages(site, visit, whole(text, "release") if text else None)
        first = await anext(messages)  # raises while it can still be answered
    except ApiError as error:
        return visit.refusal(error)
    headers = {"x-accel-buffering": "no"}  # proxies pass each message on at once
    return StreamingResponse(_all(first, messages), media_type="text/event-stream", headers=headers)


async def _all(first: bytes, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for message in messages:
        yield message


async def _messages(site: Site, visit: Visit, release: int | None) -> AsyncIterator[bytes]:
    token = site.sessions.token(visit.cookie)
    begun = False
    async with aclosing(site.hub.changes()) as changes:
        async for change in changes:
            if not token or await run_in_threadpool(site.operator, token) is None:
                return
            if not begun:
                begun = True
                yield b"retry: %d\n\n" % RETRY_MS
            elif change is None:
                yield b"event: time\ndata: now\n\n"  # without data, browsers drop an event
            elif release in {None, change.release}:
                yield b"data: %b\n\n" % msgspec.json.encode({"release": change.release, "line": change.line})
