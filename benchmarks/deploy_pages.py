"""What each page of the dashboard weighs and how long it takes with a million devices; prints a table.

python benchmarks/deploy_pages.py [--markdown docs/benchmarks.md] [--devices 1000000] [--folder KEPT]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import random
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec
import sqlalchemy as sa
from deploy_policies import policy, profile
from deploy_server import add_version, live, opened, stable
from report import machine, write_section
from walle_deploy.manifest import File, Manifest
from walle_deploy.server import schema
from walle_deploy.server.auth import Tokens
from walle_deploy.server.platform import Platform
from walle_deploy.store.files import FileStore

TASKS, LIVE = 200, 50
POINTS, FAILURES, AUDITED = 2000, 1000, 100_000
ASKED, VIEWERS = 200, 4  # requests of each page, and how many come at once
BYTES, SECONDS = 100_000, 0.150  # what a page may weigh, and take for 95 of 100
SECRET = bytes(32)
Row = tuple[str, int, float, float, float]


def fill(platform: Platform, devices: int) -> None:
    """Tasks, of which some have a release that goes on, one with a long curve; an audit log; devices."""
    rng = random.Random(7)
    stable(platform, [policy(rng, number) for number in range(TASKS)])
    live(platform, [f"task-{number}" for number in range(0, TASKS, TASKS // LIVE)])
    now = time.time()
    points = [
        {
            "release": 1, "number": number, "at": now - 10.0 * (POINTS - number), "reached": devices * number // POINTS,
            "treated": 40 * number, "treated_failed": number, "control": 39 * number, "control_failed": number * 9 // 10,
        }
        for number in range(POINTS)
    ]  # fmt: skip
    failures = [
        {
            "release": 1, "slot": number, "number": number, "at": now, "device": f"device-{number:07}", "version": "v2",
            "why": f"ValueError: operands could not be broadcast together with shapes (8,64) (8,{number % 20})",
        }
        for number in range(FAILURES)
    ]  # fmt: skip
    audit = [
        {
            "at": now - number,
            "who": "ada",
            "action": "token",
            "what": f"token/{number}",
            "text": "viewer for 30 days",
        }
        for number in range(AUDITED)
    ]
    for table, some in ((schema.points, points), (schema.failures, failures), (schema.audit, audit)):
        platform.database.write(lambda found, table=table, some=some: found.execute(sa.insert(table), some))
    wanted = platform._watch.snapshot.wanted
    for start in range(0, devices, 10_000):
        rows = []
        for number in range(start, min(start + 10_000, devices)):
            one = msgspec.structs.replace(profile(rng), id=f"device-{number:07}")
            if number < 20_000:  # the others keep the random tasks that they say to have
                one = msgspec.structs.replace(one, installed=wanted(one)[0])
            seen = int(now) - rng.randrange(86_400)
            rows.append({"id": one.id, "digest": one.digest, "profile": one.canonical, "seen": seen})
        platform.database.write(lambda found, rows=rows: found.execute(sa.insert(schema.devices), rows))
    every = sa.update(schema.installed).where(schema.installed.c.task == "").values(count=devices)
    platform.database.write(lambda found: found.execute(every))


def add_versions(platform: Platform, store: FileStore) -> None:
    """Two versions of a task that differ in scripts and in weights."""
    add_version(platform, "task-1", 2)
    rng = random.Random(5)
    script = [f"    value = value * {number} + weights[{number % 7}]\n" for number in range(300)]
    weights = rng.randbytes(2_000_000)
    for number in (3, 4):
        files = {
            f"part_{part}.py": "".join(script[part * 10 :] + script[: part * number]).encode()
            for part in range(20)
        }
        files["weights.bin"] = weights[: 1000 * number] + weights[5000:]
        put = {path: store.put(content) for path, content in files.items()}
        made = Manifest.of(
            "task-0", f"v{number}", [File(path, one.sha256, one.size) for path, one in put.items()]
        )
        about = {"commit": "c" * 40, "message": "made for a measurement", "signer": "ada"}
        platform.add_version("task-0", number, **about, manifest=made.encode(), who="ada")


def serve(url: str, files: str, ready: multiprocessing.connection.Connection) -> None:
    """The dashboard in a process of its own; tells its port and an operator's token."""
    import uvicorn
    from walle_deploy.server.pages.app import pages

    platform = opened(url)
    tokens = Tokens(platform.database)
    _, token = tokens.make("bench", "admin", 1)
    app = pages(platform, tokens, secret=SECRET, files=FileStore.open(files))
    config = uvicorn.Config(
        app, port=0, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    startup = server.startup

    async def told(*args: object, **kwargs: object) -> None:
        await startup(*args, **kwargs)  # type: ignore[arg-type]
        ready.send((server.servers[0].sockets[0].getsockname()[1], token))

    server.startup = told  # type: ignore[method-assign]
    server.run()


class Visitor:
    """Somebody who has logged in, on one connection."""

    def __init__(self, port: int, token: str, cookie: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.cookie = cookie
        if cookie:
            return
        page = self.get("/login")
        found = re.search(rb'name="csrf" value="([^"]+)"', page)
        assert found is not None
        self._ask("POST", "/login", urlencode({"csrf": found[1].decode(), "token": token}))

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        self.connection.request(method, path, body, {"cookie": self.cookie})
        answer = self.connection.getresponse()
        for cookie in answer.headers.get_all("set-cookie") or ():
            self.cookie = cookie.partition(";")[0]
        data = answer.read()
        assert answer.status in {200, 303}, (answer.status, path, data[:2000])
        return data

    def get(self, path: str) -> bytes:
        """A page."""
        return self._ask("GET", path)


def paths(devices: int) -> dict[str, Callable[[random.Random], str]]:
    """Pages by name, another one of the kind each time."""

    def device(rng: random.Random) -> str:
        return f"device-{rng.randrange(devices):07}"

    def task(rng: random.Random) -> str:
        return f"task-{rng.randrange(TASKS)}"

    return {
        "overview": lambda rng: "/",
        "tasks": lambda rng: "/tasks",
        "task": lambda rng: f"/tasks/{task(rng)}",
        f"release, {POINTS:,} points": lambda rng: "/releases/1",
        "release": lambda rng: f"/releases/{rng.randrange(2, LIVE)}",
        "confirmation": lambda rng: f"/releases/{rng.randrange(1, LIVE)}/rollback",
        "start of a release": lambda rng: "/tasks/task-1/release",
        "devices": lambda rng: f"/devices?after={device(rng)}",
        "devices by prefix": lambda rng: f"/devices?prefix={device(rng)[:-3]}",
        "device": lambda rng: f"/devices/{device(rng)}",
        "explain": lambda rng: f"/explain?device={device(rng)}&task={task(rng)}",
        f"audit, {AUDITED:,} entries": lambda rng: f"/audit?before={rng.randrange(1000, AUDITED)}",
        "audit, searched in vain": lambda rng: f"/audit?text={quote('no such <words>')}",
        "differences": lambda rng: "/diff/task-0?old=3&new=4",
    }


def measured(port: int, token: str, devices: int) -> Iterator[Row]:
    """Largest bytes, median and 95th percentile of the seconds of each page, and the latter with several at once."""
    visitor = Visitor(port, token)
    rng = random.Random(3)
    for name, path in paths(devices).items():
        visitor.get(path(rng))
        times, size = [], 0
        for _ in range(ASKED):
            where = path(rng)
            start = time.perf_counter()
            size = max(size, len(visitor.get(where)))
            times.append(time.perf_counter() - start)
        yield name, size, statistics.median(times), percentile(times), together(port, visitor.cookie, path)


def together(port: int, cookie: str, path: Callable[[random.Random], str]) -> float:
    """The 95th percentile when several viewers ask at once."""
    times: list[float] = []

    def view(seed: int) -> None:
        rng, visitor = random.Random(seed), Visitor(port, "", cookie)
        for _ in range(ASKED // VIEWERS):
            where = path(rng)
            start = time.perf_counter()
            visitor.get(where)
            times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=view, args=(seed,)) for seed in range(VIEWERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return percentile(times)


def percentile(times: list[float]) -> float:
    """The 95th."""
    return sorted(times)[int(0.95 * len(times))]


@contextlib.contextmanager
def served(url: str, files: str) -> Iterator[tuple[int, str]]:
    """A server in another process."""
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe()
    process = context.Process(target=serve, args=(url, files, theirs), daemon=True)
    process.start()
    try:
        yield ready.recv()
    finally:
        process.terminate()
        process.join()


def main() -> int:
    """Prints the table; with --markdown it writes it into a page, too. The exit status tells whether the goals are met."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--devices", type=int, default=1_000_000)
    options.add_argument("--folder", type=Path, help="where the database is kept for the next time")
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="walle-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        files = str(folder / "files")
        url = f"sqlite:///{folder}/pages-{given.devices}.db"
        if not (folder / f"pages-{given.devices}.db").exists():
            with opened(url) as platform:
                fill(platform, given.devices)
                add_versions(platform, FileStore.open(files))
        port, token = stack.enter_context(served(url, files))
        table = []
        for row in measured(port, token, given.devices):
            table.append(row)
            print(f"{row[0]:28} {row[1]:>8,} bytes   p50 {row[2] * 1e3:6.1f} ms   p95 {row[3] * 1e3:6.1f} ms   "
                  f"p95 of {VIEWERS} at once {row[4] * 1e3:6.1f} ms", flush=True)  # fmt: skip
    if given.markdown:
        lines = [
            f"## The dashboard's pages ({date.today()}, {machine()}, one process)",
            "",
            f"{given.devices:,} devices, {TASKS} tasks of which {LIVE} have a release that goes on, SQLite; {ASKED} requests of each "
            f"page by HTTP, another device and task each time. Goals: {BYTES // 1000} KB, 150 ms for 95 of 100.",
            "",
            f"| page | bytes | p50 ms | p95 ms | p95 ms, {VIEWERS} at once |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {name} | {size:,} | {half * 1e3:.1f} | {most * 1e3:.1f} | {many * 1e3:.1f} |"
                for name, size, half, most, many in table
            ),
        ]
        write_section(given.markdown, "deploy_pages", lines)
    missed = [name for name, size, _, most, _ in table if size > BYTES or most > SECONDS]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return bool(missed)


if __name__ == "__main__":
    raise SystemExit(main())
