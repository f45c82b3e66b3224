"""What devices cost the deployment server over HTTP: checks in process and by wrk, reports, files; prints a table.

    python benchmarks/deploy_http.py [--markdown docs/benchmarks.md] [--seconds 5]

Wants `walle-deploy[server]` and the command `wrk` (Debian: apt-get install wrk). The server is one process that stays on
one core; wrk stays on another. At 60 % of the load, each of wrk's connections waits between two requests.
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec
from deploy_policies import policy, profile
from deploy_server import LIVE, live, opened, stable
from report import machine, write_section
from walle_deploy.profile import Profile
from walle_deploy.server.asgi import App
from walle_deploy.server.auth import device_token
from walle_deploy.server.folder import secret
from walle_deploy.server.services import Services
from walle_deploy.server.testing import RunningServer, make_folder, running_server

Row = tuple[str, str, str]
POLICIES = 200
CONNECTIONS, WAITING = 64, 256
GOAL = 15_000  # checks by digest that one process is to answer in a second
SHARE = 0.6  # of the highest rate, at which latency is measured
FILE = 10 << 20  # bytes of the file that is fetched

WRK = """
local requests, at = {}, %(start)d
local file = io.open("%(requests)s", "rb")
while true do
  local size = file:read(8)
  if not size then break end
  requests[#requests + 1] = file:read(tonumber(size, 16))
end
request = function() at = at %% #requests + 1; return requests[at] end
local seen = {}
response = function(status) seen[status] = (seen[status] or 0) + 1; shown = "" for s, n in pairs(seen) do shown = shown .. s .. ":" .. n .. " " end end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
done = function() for _, thread in ipairs(threads) do print("statuses " .. (thread:get("shown") or "")) end end
"""
DELAY = "delay = function() return math.random(%d, %d) end\n"


@attrs.frozen
class Wrk:
    """What wrk saw: requests a second, milliseconds, and how often each status came (not counted without a script)."""

    rate: float
    p50: float
    p99: float
    statuses: dict[int, int]
    errors: str = ""
    core: float = 0.0
    """Requests per second of the server's processor time, which other work on the machine disturbs less."""


def wrk(
    made: RunningServer,
    path: str,
    seconds: float,
    script: str = "",
    *,
    headers: Sequence[str] = (),
    connections: int = CONNECTIONS,
) -> Wrk:
    """One run on the last core."""
    used = processor(made.process.pid)
    command = [
        "taskset",
        "-c",
        str(cores()[-1]),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--latency",
    ]
    for header in headers:
        command += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        if script:
            command += ["-s", file.name]
        text = subprocess.run(
            [*command, made.base_url + path], check=True, capture_output=True, text=True
        ).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    statuses = {int(s): int(n) for s, n in re.findall(r"(\d{3}):(\d+)", text)}
    errors = " ".join(line.strip() for line in text.splitlines() if "errors" in line or "Non-2xx" in line)
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    core = requests / (processor(made.process.pid) - used)
    return Wrk(rate, milliseconds(text, "50%"), milliseconds(text, "99%"), statuses, errors, core)


def processor(process: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(text: str, what: str) -> float:
    """A percentile of wrk's output."""
    number, unit = re.search(rf"{what}\s+([\d.]+)(us|ms|s)\b", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def cores() -> list[int]:
    """Those of this process."""
    return sorted(os.sched_getaffinity(0))


def scripted(folder: Path, requests: Sequence[bytes], start: int = 0) -> str:
    """A script that sends these requests in turn, from the one with this number on."""
    path = folder / "requests.bin"
    path.write_bytes(b"".join(b"%08x" % len(one) + one for one in requests))
    return WRK % {"requests": path, "start": start}


def calm(
    made: RunningServer, seconds: float, rate: float, script: str = "", headers: Sequence[str] = ()
) -> Wrk:
    """A run at about `SHARE` of a rate, the median of three by its 99th percentile.

    wrk waits whole milliseconds on each connection before a request, and what that comes to is found out by trying.
    """
    wait = goal = WAITING / (rate * SHARE) * 1000
    for _ in range(3):
        found = wrk(made, "/check", 2, script + delay(wait), headers=headers, connections=WAITING)
        wait = max(1.0, wait + goal - WAITING / found.rate * 1000)
    runs = [
        wrk(made, "/check", seconds, script + delay(wait), headers=headers, connections=WAITING)
        for _ in range(3)
    ]
    return sorted(runs, key=lambda one: one.p99)[1]


def delay(wait: float) -> str:
    """What makes wrk wait for so many milliseconds on average."""
    return DELAY % (round(wait * 0.5), round(wait * 1.5))


@contextmanager
def server(folder: Path, policies: int = POLICIES) -> Iterator[RunningServer]:
    """A server with stable tasks for these many policies, `LIVE` of them with a release, on the first core."""
    settings = make_folder(folder / "server", tunnel="none")
    with opened(settings.database_url) as platform:
        filled(platform, policies)
    with running_server(folder) as made:
        subprocess.run(
            ["taskset", "-acp", str(cores()[0]), str(made.process.pid)], check=True, capture_output=True
        )
        yield made


def filled(platform: Any, policies: int) -> None:
    """Tasks and releases as devices meet them."""
    rng = random.Random(7)
    stable(platform, [policy(rng, each) for each in range(policies)])
    live(platform, [f"task-{each}" for each in range(0, policies, policies // LIVE)])


def settled(snapshot: Any, some: Sequence[Profile]) -> list[Profile]:
    """The devices once they have what they want."""
    return [msgspec.structs.replace(one, installed=snapshot.wanted(one)[0]) for one in some]


def devices(number: int, seed: int, prefix: str) -> list[Profile]:
    """Devices that are all different."""
    rng = random.Random(seed)
    return [msgspec.structs.replace(profile(rng), id=f"{prefix}-{at}") for at in range(number)]


def post(path: str, body: bytes, token: str, more: str = "") -> bytes:
    """A request as it goes out."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def speed(work: Callable[[Any], Any], some: Sequence[Any], after: Callable[[], Any]) -> float:
    """Requests per second of processor time, all threads and `after` included: the median of five parts, after one more."""

    async def measured() -> float:
        part, found = len(some) // 6, []
        for number in range(6):
            start = time.process_time()
            for one in some[number * part : (number + 1) * part]:
                await work(one)
            await asyncio.to_thread(after)
            found.append(part / (time.process_time() - start))
        return statistics.median(found[1:])

    return loop().run(measured())


def loop() -> asyncio.Runner:
    """One for all of this process."""
    global _runner
    if _runner is None:
        _runner = asyncio.Runner()
    return _runner


_runner: asyncio.Runner | None = None


def in_process(number: int) -> Iterator[Row]:
    """The ASGI callable, called directly."""
    with tempfile.TemporaryDirectory(prefix="walle-bench-") as name:
        settings = make_folder(Path(name, "server"), tunnel="none", base_url="https://deploy.example/walle")
        with opened(settings.database_url) as platform:
            filled(platform, POLICIES)
        app = App(partial(Services.open, settings))
        loop().run(app.start())
        snapshot = app.services.platform._watch.snapshot
        new = devices(number // 2, 11, "new")
        rest = settled(snapshot, devices(number // 2, 12, "settled"))
        statuses: dict[int, int] = {}

        async def send(message: Any) -> None:
            if "status" in message:
                statuses[message["status"]] = statuses.get(message["status"], 0) + 1

        async def check(one: tuple[Any, bytes]) -> None:
            scope, body = one

            async def receive() -> Any:
                return {"type": "http.request", "body": body}

            await app(scope, receive, send)

        def scope(method: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
            about = [(b"host", b"x"), (b"user-agent", b"shop/10.2"), *headers]
            return {
                "type": "http",
                "method": method,
                "path": "/walle/check",
                "headers": about,
                "client": ("10.0.0.1", 1),
            }

        def full(some: Sequence[Profile]) -> list[tuple[Any, bytes]]:
            tokens = [device_token(app.services.secret, one.id).encode() for one in some]
            return [
                (
                    scope("POST", (b"authorization", b"Bearer " + token), (b"content-length", b"300")),
                    one.canonical,
                )
                for token, one in zip(tokens, some, strict=True)
            ]

        flush = app.services.platform._writer.flush

        def seen() -> str:
            found = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
            statuses.clear()
            return found

        rate = speed(check, full(rest), flush)
        yield f"full check in process, {POLICIES} policies, nothing new", f"{rate:,.0f}/s", seen()
        rate = speed(check, full(new), flush)
        yield (
            f"full check in process, {POLICIES} policies, something new",
            f"{rate:,.0f}/s",
            f"{seen()}; signed",
        )
        digests = [scope("GET", (b"walle-profile", one.header().encode())) for one in rest]
        rate = speed(check, [(each, b"") for _ in range(3) for each in digests], flush)
        yield "check by digest in process, nothing new", f"{rate:,.0f}/s", seen()
        loop().run(app.services.stop())


def bytes_of_nothing(made: RunningServer, header: str) -> Row:
    """What a check by digest sends and gets."""
    host, port = made.url.removeprefix("http://").split(":")
    asked = f"GET /walle/check HTTP/1.1\r\nHost: {host}\r\nWalle-Profile: {header}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(asked)
        got = connection.recv(65_536)
    assert got.startswith(b"HTTP/1.1 204")
    down = f"{len(got)} bytes down"
    return (
        "check by digest, nothing new",
        down,
        f"{len(asked)} up; {got.decode('ascii').strip()!r} and nothing else",
    )


def over_sockets(seconds: float) -> Iterator[Row]:
    """wrk against one process."""
    with tempfile.TemporaryDirectory(prefix="walle-bench-") as name, server(Path(name)) as made:
        folder = Path(name)
        key = secret(made.folder)
        with opened(made.settings.database_url) as platform:
            snapshot = platform._watch.snapshot
            rest = settled(snapshot, devices(60_000, 12, "settled"))
        quiet = rest[0]
        body = post("/walle/check", quiet.canonical, device_token(key, quiet.id))
        told = made.call("POST", "/walle/check", body.partition(b"\r\n\r\n")[2], role=None,
                         headers={"authorization": f"Bearer {device_token(key, quiet.id)}"})  # fmt: skip
        assert told.status == 204, told
        header = [f"Walle-Profile: {quiet.header()}"]
        best = max((wrk(made, "/check", seconds, headers=header) for _ in range(3)), key=lambda one: one.rate)
        yield row(f"check by digest, {CONNECTIONS} connections", best, made)
        slow = calm(made, seconds, GOAL, headers=header)
        yield row(
            f"check by digest at {slow.rate / GOAL:.0%} of {GOAL:,}/s, {WAITING} connections", slow, made
        )
        slow = calm(made, seconds, best.rate, headers=header)
        yield row(
            f"check by digest at {slow.rate / best.rate:.0%} of that, {WAITING} connections", slow, made
        )
        yield bytes_of_nothing(made, quiet.header())
        requests = [post("/walle/check", one.canonical, device_token(key, one.id)) for one in rest]
        full = wrk(made, "/check", seconds, scripted(folder, requests))
        what = f"full check, {POLICIES} policies, nothing new"
        yield row(what, full, made)
        slow = calm(made, seconds, full.rate, scripted(folder, requests, 30_000))
        yield row(f"{what}, at {slow.rate / full.rate:.0%} of that, {WAITING} connections", slow, made)
        new = devices(60_000, 11, "new")
        requests = [post("/walle/check", one.canonical, device_token(key, one.id)) for one in new]
        yield row(
            f"full check, {POLICIES} policies, something new",
            wrk(made, "/check", seconds, scripted(folder, requests)),
            made,
        )
        sent = [[1, "task-0", "v2", False, {"ms": 3.5}, ""]]
        requests = [
            post(
                "/walle/reports",
                msgspec.msgpack.encode(sent),
                device_token(key, one.id),
                f"Walle-Id: {one.id}\r\n",
            )
            for one in new
        ]
        for connections in (CONNECTIONS, 512):
            told = wrk(
                made,
                "/reports",
                seconds,
                scripted(folder, requests, connections * 20),
                connections=connections,
            )
            yield row(f"reports, one each, durable, {connections} connections", told, made)
        yield fetched(made, seconds)


def row(what: str, seen: Wrk, made: RunningServer) -> Row:
    """A run in words."""
    memory = int(Path(f"/proc/{made.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    note = f"{seen.core:,.0f} per second of processor time; p50 {seen.p50:.2f} ms, p99 {seen.p99:.2f} ms"
    if seen.statuses:
        note += "; " + ", ".join(f"{count:,} × {status}" for status, count in sorted(seen.statuses.items()))
    return (
        what,
        f"{seen.rate:,.0f}/s",
        f"{note}; {memory / 1e6:.0f} MB{'; ' + seen.errors if seen.errors else ''}",
    )


def fetched(made: RunningServer, seconds: float) -> Row:
    """A large file, again and again."""
    data = os.urandom(FILE)
    digest = hashlib.sha256(data).hexdigest()
    made.call("PUT", f"/api/v1/files/{digest}", data, expect=201)
    seen = wrk(made, f"/files/{digest[:2]}/{digest[2:]}", seconds, connections=4)
    return "files of 10 MiB, 4 connections", f"{seen.rate * FILE / 1e6:,.0f} MB/s", f"p99 {seen.p99:.0f} ms"


def main() -> None:
    """Prints the table; with --markdown it writes it into a page, too."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=5.0, help="of each run of wrk")
    options.add_argument("--profiles", type=int, default=24_000)
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None or len(cores()) < 2:
        sys.exit("this wants two cores and the commands wrk and taskset: apt-get install wrk util-linux")
    table = []
    for one in (*in_process(given.profiles), *over_sockets(given.seconds)):
        table.append(one)
        print(f"{one[0]:60} {one[1]:>14}   {one[2]}", flush=True)
    if given.markdown:
        lines = [
            f"## The deployment server over HTTP ({date.today()}, {machine()}, one process on one core)",
            "",
            f"{LIVE} of {POLICIES} tasks have a release that goes on. Devices are all different, so that no answer is "
            "remembered, but for checks by digest. wrk has a core of its own.",
            "",
            "| what | figure | |",
            "|---|---:|---|",
            *(f"| {what} | {figure} | {note} |" for what, figure, note in table),
        ]
        write_section(given.markdown, "deploy_http", lines)


if __name__ == "__main__":
    main()
