"""What happens to releases as it happens, as server-sent events."""

from __future__ import annotations

import asyncio

import msgspec

from walle_deploy.server.answers import Receive, Scope, Send, disconnected
from walle_deploy.server.api.routing import Call, Operations

operations = Operations()


@operations.add_raw("GET", "/events", "read")
async def events(call: Call, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a line whenever a release changes, at most one a second each, as server-sent events."""
    hub = call.services.hub
    about = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    gone = asyncio.create_task(disconnected(receive))
    changes = hub.changes()
    begun = False
    try:
        while not gone.done():
            following = asyncio.ensure_future(anext(changes))
            await asyncio.wait({gone, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                break
            change = following.result()
            if not begun:
                await send({"type": "http.response.start", "status": 200, "headers": about})
                begun = True
            line = (
                b": still here\n\n" if change is None else b"data: " + msgspec.json.encode(change) + b"\n\n"
            )
            await send({"type": "http.response.body", "body": line, "more_body": True})
    finally:
        gone.cancel()
        await changes.aclose()
    if begun:
        await send({"type": "http.response.body", "body": b""})
