"""What push-then-pull adds to a business request: bytes, and time in the client and in the server.

python benchmarks/deploy_hooks.py [--markdown docs/benchmarks.md]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import requests
from report import machine, write_section
from requests.adapters import BaseAdapter
from walle_deploy.hooks import Piggyback, on_httpx, on_requests
from walle_deploy.hooks import headers as wire
from walle_deploy.hooks.middleware import WalleMiddleware
from walle_deploy.hooks.remote import RemoteCheck
from walle_deploy.profile import Profile
from walle_deploy.trust.answer import AnswerSigner, AnswerTask
from walle_deploy.trust.keys import new_key

Row = tuple[str, str, str]
URL = "https://api.shop.example"
TASKS = [
    "item-page-view",
    "photo-score",
    "ocr",
    "voice-wake",
    "translate",
    "spam-filter",
    "face-blur",
    "pose",
    "pay-risk",
    "photo-sort",
    "search-hint",
    "churn",
    "highlight",
    "doodle",
    "keyboard",
    "battery",
    "crash-guess",
    "size-fit",
    "live-shop",
    "feed-rank",
]
PROFILE = Profile(
    "8f14e45fceea167a",
    {
        "os": "android",
        "os_version": "14",
        "app_version": "10.32.1",
        "memory_mb": 6144,
        "backends": ["avx", "opencl"],
        "speed.avx": 41.5,
    },
    {"country": "DE"},
    {name: f"v{3 * number % 37 + 1}" for number, name in enumerate(TASKS)},
)
TOKEN = "t" * 22
SERVER = """
import socket, uvicorn
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")).run(sockets=[s])
"""


def line(name: str, value: str) -> int:
    """Bytes of a header in HTTP/1.1."""
    return len(f"{name}: {value}\r\n")


def sizes() -> list[Row]:
    """Bytes of the headers."""
    device, token = line(wire.DEVICE, wire.write_profile(PROFILE)), line(wire.TOKEN, TOKEN)
    digest = line(wire.PROFILE, PROFILE.header())
    plain = line(wire.DEVICE, wire.write_answer(PROFILE.canonical))
    task = AnswerTask("item-page-view", 12, secrets.token_bytes(32), 48_213, "https://cdn.shop.example/walle")
    now = 1_780_000_000
    answer = AnswerSigner(new_key()).sign(
        PROFILE.id, [task], counter=now * 10**6, issued=now, expires=now + 7 * 86_400
    )
    return [
        ("up, nothing new", f"{digest} B", "the digest; goal 64"),
        ("down, nothing new", "0 B", "no header; goal 0"),
        (
            "up, the profile with 20 tasks",
            f"{device} B",
            f"goal 300; canonical {len(PROFILE.canonical)} B, as base64url {plain} B; once after being asked",
        ),
        ("up, that request in all", f"{digest + device + token} B", "with digest and token"),
        ("down, being asked for the profile", f"{line(wire.ANSWER, wire.ASK)} B", ""),
        (
            "down, answer for one task",
            f"{line(wire.ANSWER, wire.write_answer(answer))} B",
            f"goal 500; signed answer of {len(answer)} B in base64url",
        ),
    ]


def microseconds(*calls: Callable[[], Any], rounds: int = 15, number: int = 400) -> list[float]:
    """Of each call, the median over rounds in which the calls take turns: what disturbs one disturbs all."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for times, call in zip(found, calls, strict=True):
            start = time.perf_counter()
            for _ in range(number):
                call()
            times.append((time.perf_counter() - start) / number * 1e6)
    return [statistics.median(times) for times in found]


def piggyback() -> Piggyback:
    return Piggyback(lambda: PROFILE, lambda answer: None, token=TOKEN, origins=[URL])


class Echo(BaseAdapter):
    """Answers at once."""

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url or ""
        response.headers["content-type"] = "application/json"
        response._content = b"{}"
        return response

    def close(self) -> None:
        pass


def client_rows() -> list[Row]:
    """What the hooks add to a request whose server answers at once: the client's own work is all there is."""
    rows = []
    logic = piggyback()
    origin = ("https", "api.shop.example", None)

    def both() -> None:
        logic.headers(origin)
        logic.received(origin, None)

    (alone,) = microseconds(both, number=20_000)
    rows.append(("the logic alone", f"{alone:.2f} µs", "headers before, header after"))

    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={}))
    bare, hooked = httpx.Client(transport=transport), httpx.Client(transport=transport)
    on_httpx.attach(hooked, piggyback())
    without, with_it, other = microseconds(
        lambda: bare.get(URL), lambda: hooked.get(URL), lambda: hooked.get("https://cdn.other.example")
    )
    rows.append(("httpx, a request", f"{with_it - without:+.0f} µs", f"{without:.0f} µs without the hook"))
    rows.append(
        ("httpx, a request to another origin", f"{other - without:+.0f} µs", "nothing is added to it")
    )

    plain, carrying = requests.Session(), requests.Session()
    for session in (plain, carrying):
        session.mount("https://", Echo())
    on_requests.attach(carrying, piggyback())
    without, with_it, other = microseconds(
        lambda: plain.get(URL), lambda: carrying.get(URL), lambda: carrying.get("https://cdn.other.example")
    )
    rows.append(("requests, a request", f"{with_it - without:+.0f} µs", f"{without:.0f} µs without the hook"))
    rows.append(
        ("requests, a request to another origin", f"{other - without:+.0f} µs", "nothing is added to it")
    )
    return rows


class Remembering:
    """A check in memory."""

    def __init__(self, quiet: bool | None, answer: bytes | None = None) -> None:
        self._quiet, self._answer = quiet, answer

    def quiet(self, digest: bytes) -> bool | None:
        return self._quiet

    async def digest(self, digest: bytes) -> bool:
        return True

    async def full(self, profile: bytes, token: str) -> bytes | None:
        return self._answer


async def business(scope: Any, receive: Any, send: Any) -> None:
    """The smallest application."""
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def nothing(*arguments: Any) -> None:
    """Where the messages go."""


def asgi(app: Callable[..., Awaitable[None]], *headers: tuple[str, str]) -> Callable[[], None]:
    """Calls an application inside one event loop, with ten headers as a browser sends and these."""
    common = [(b"header-%d" % number, b"value") for number in range(10)]
    own = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [*common, *own]}
    loop = asyncio.new_event_loop()

    async def hundred() -> None:
        for _ in range(100):
            await app(scope, nothing, nothing)

    return lambda: loop.run_until_complete(hundred())


def server_rows() -> list[Row]:
    """What the middleware adds to an application that does nothing."""
    digest, device, token = (
        (wire.PROFILE, PROFILE.header()),
        (wire.DEVICE, wire.write_profile(PROFILE)),
        (wire.TOKEN, TOKEN),
    )
    cases = [
        ("no device", Remembering(True), []),
        ("device, nothing new, remembered", Remembering(True), [digest]),
        ("device that is asked for its profile", Remembering(False), [digest]),
        ("digest that another server must be asked about", Remembering(None), [digest]),
        ("full profile with 20 tasks", Remembering(True, bytes(250)), [digest, device, token]),
    ]
    calls = [asgi(WalleMiddleware(business, check), *headers) for _, check, headers in cases]
    bare, *found = (taken / 100 for taken in microseconds(asgi(business), *calls, number=10))
    notes = ["", "", "", "without the time of that server", "unpacked, digested; without the evaluation"]
    return [
        (f"middleware, {name}", f"+{taken - bare:.1f} µs", note)
        for (name, _, _), taken, note in zip(cases, found, notes, strict=True)
    ]


def remote_rows() -> list[Row]:
    """A check through a server in another process: processor time of this one."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())

    async def measured(number: int, together: int) -> tuple[float, float]:
        check = RemoteCheck(f"http://127.0.0.1:{port}")

        async def some() -> None:
            for _ in range(number // together):
                await check.digest(b"12345678")

        await some()
        start, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some() for _ in range(together)))
        found = time.process_time() - used, time.perf_counter() - start
        await check.close()
        return found[0] / number * 1e6, found[1] / number * 1e6

    try:
        cpu, wall = asyncio.run(measured(3000, 1))
        cpu16, _ = asyncio.run(measured(6400, 16))
    finally:
        process.terminate()
        process.wait()
    return [
        (
            "RemoteCheck, a digest",
            f"{cpu:.0f} µs",
            f"of processor; {wall:.0f} µs until the answer, over loopback",
        ),
        ("RemoteCheck, 16 at once", f"{cpu16:.0f} µs", "of processor each"),
    ]


def main() -> None:
    """Prints the table; with --markdown it writes it into a page, too."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    table = [*sizes(), *client_rows(), *server_rows(), *remote_rows()]
    for what, figure, note in table:
        print(f"{what:60} {figure:>12}   {note}")
    if given.markdown:
        lines = [
            f"## Push-then-pull on business requests ({date.today()}, {machine()}, one core)",
            "",
            "Bytes are those of the header's line in HTTP/1.1. Times are what is added to a request that is answered at",
            "once, so that nothing but the client's or the server's own work is compared.",
            "",
            "| what | figure | |",
            "|---|---:|---|",
            *(f"| {what} | {figure} | {note} |" for what, figure, note in table),
        ]
        write_section(given.markdown, "deploy_hooks", lines)


if __name__ == "__main__":
    main()
