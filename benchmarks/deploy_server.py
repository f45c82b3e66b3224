"""What the deployment server's core costs, without HTTP: checks, reports, a million devices; prints a table.

python benchmarks/deploy_server.py [--markdown docs/benchmarks.md] [--devices 1000000]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from deploy_policies import policy, profile
from report import machine, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins/deploy/tests/server"))
from core_databases import postgres
from walle_deploy.manifest import File, Manifest
from walle_deploy.profile import Profile
from walle_deploy.server.auditing import raise_epoch
from walle_deploy.server.platform import Platform
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.schema import installed, tasks, versions
from walle_deploy.server.types import DeviceReport
from walle_deploy.trust.answer import AnswerSigner
from walle_deploy.trust.keys import SigningKey

Row = tuple[str, str, str]
BASE = "https://deploy.example/walle"
PLAN = {"stages": [{"kind": "gray", "percent": 50}, {"kind": "full"}]}
LIVE = 50  # tasks with a release that goes on, of those whose policies are live


def opened(url: str, **options: Any) -> Platform:
    """A worker."""
    signer = AnswerSigner(SigningKey(Ed25519PrivateKey.generate()))
    return Platform.open(url, secret=bytes(32), signer=signer, base_url=BASE, **options)


def add_version(platform: Platform, task: str, number: int) -> None:
    """A version of one small file."""
    made = Manifest.of(task, f"v{number}", [File("task.py", "ab" * 32, 100)])
    about = {"commit": "c" * 40, "message": "made for a measurement", "signer": "ada"}
    platform.add_version(task, number, **about, manifest=made.encode(), who="ada")


def stable(platform: Platform, policies: Sequence[dict[str, Any]]) -> None:
    """Tasks with these policies, whose first version is stable; a row at a time would make the index anew each time."""

    def work(found: sa.Connection) -> None:
        epoch = raise_epoch(found)
        rows, made = [], []
        for number, one in enumerate(policies):
            name = f"task-{number}"
            text = msgspec.json.encode(one).decode()
            about = {"stable": 1, "release": None, "retired": False, "created": 0.0, "epoch": epoch}
            rows.append({"name": name, "policy": text, **about})
            version = {"task": name, "number": 1, "commit": "", "message": "", "signer": "", "created": 0.0}
            size = {"manifest": "ab" * 32, "manifest_bytes": 200, "files": 1, "size": 100}
            flags = {"exclusive": False, "published": True, "revoked": ""}
            made.append({**version, **size, **flags})
        found.execute(sa.insert(tasks), rows)
        found.execute(sa.insert(versions), made)
        counts = [{"task": row["name"], "number": 1, "count": 0} for row in rows]
        found.execute(sa.insert(installed), counts)

    platform.database.write(work)
    platform.refresh()


def live(platform: Platform, some: Sequence[str]) -> None:
    """Releases that go on."""
    for name in some:
        add_version(platform, name, 2)
        platform._releases.create(name, 2, PLAN, "ada")
    platform.refresh()


def anew(one: Profile) -> Profile:
    """A profile as it comes from the network, without a digest that was computed already."""
    return Profile.read(one.canonical)


def speed(function: Callable[[Any], object], some: Sequence[Any], after: Callable[[], Any]) -> float:
    """Calls per second of processor time, all threads and `after` included: the median of five parts, after one more."""
    part = len(some) // 6
    found = []
    for number in range(6):
        start = time.process_time()
        for one in some[number * part : (number + 1) * part]:
            function(one)
        after()
        found.append(part / (time.process_time() - start))
    return statistics.median(found[1:])


def begin(platform: Platform, begun: list[Future[bytes | None]], one: Profile) -> None:
    """A check that does not wait: what would take a task from the device is answered after the next look at the epoch."""
    made = platform.begin_check(one)
    if isinstance(made, Future):
        begun.append(made)


def end(platform: Platform, begun: list[Future[bytes | None]]) -> None:
    """Waits for what `begin` began, and until all is written."""
    for each in begun:
        each.result()
    begun.clear()
    platform._writer.flush()


@contextmanager
def sqlite() -> Iterator[str]:
    """A new database in a file."""
    with tempfile.TemporaryDirectory(prefix="walle-bench-") as folder:
        yield f"sqlite:///{folder}/walle.db"


def checks(number: int) -> list[Row]:
    """Checks of devices that are all different."""
    found = []
    for policies in (200, 10_000):
        with sqlite() as url, opened(url) as platform:
            rng = random.Random(7)
            stable(platform, [policy(rng, each) for each in range(policies)])
            live(platform, [f"task-{each}" for each in range(0, policies, policies // LIVE)])
            rng = random.Random(11)
            some = [profile(rng) for _ in range(number)]
            snapshot = platform._watch.snapshot
            at_rest = [
                msgspec.structs.replace(one, installed=snapshot.wanted(one)[0]) for one in some[: number // 2]
            ]
            has = f"{statistics.mean(len(one.installed) for one in at_rest):.1f} tasks each"
            flush, kind = platform._writer.flush, f"check, {policies:,} policies"
            rate = speed(platform.check, at_rest, flush)
            found.append(
                (f"{kind}, nothing new, first time", f"{rate:,.0f}/s", f"{has}; described and written")
            )
            platform._watch.snapshot.quiet = set()
            rate = speed(platform.check, [anew(one) for one in at_rest], flush)
            found.append(
                (f"{kind}, nothing new, later", f"{rate:,.0f}/s", f"{has}; as after every new epoch")
            )
            begun: list[Future[bytes | None]] = []
            rate = speed(partial(begin, platform, begun), some[number // 2 :], partial(end, platform, begun))
            found.append((f"{kind}, something new", f"{rate:,.0f}/s", "signed; described and written"))
            digests = [one.digest for one in at_rest]
            rate = speed(platform.check_digest, digests, flush)
            found.append((f"{kind}, digest", f"{rate:,.0f}/s", "nothing new"))
    return found


def reports(name: str, url: str, seconds: float = 10.0, waiting: int = 1000) -> Row:
    """Reports, one in each call, that are durable."""
    with opened(url) as platform:
        platform.add_task("digits", {"everyone": True}, "ada")
        for number in (1, 2):
            add_version(platform, "digits", number)
        quick = platform.create_release(
            "digits", 1, {"stages": [{"kind": "full", "control": 0}], "watch": 0}, "ada"
        )
        platform.report("device-0", [DeviceReport(1, "digits", "v1", failed=False)])
        assert platform.release(quick).status == "finished"
        release = platform.create_release("digits", 2, {"stages": [{"kind": "full"}]}, "ada")
        room = threading.Semaphore(waiting)
        start, used, sent = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            room.acquire()
            report = DeviceReport(1, "digits", "v2", failed=sent % 100 == 0, why="it did not answer")
            done = platform.begin_report(f"device-{sent}", [report])
            done.add_done_callback(lambda _: room.release())
            sent += 1
        for _ in range(waiting):
            room.acquire()
        took, used = time.perf_counter() - start, time.process_time() - used
        assert platform.release(release).heard == sent
        core = f"{used / took:.0%} of a core here, {waiting:,} waiting at most"
        return f"reports, {name}", f"{sent / took:,.0f}/s", core


def rollback(name: str, url: str) -> Row:
    """From the deciding report to the moment in which another worker offers the version to nobody."""
    with opened(url) as platform, opened(url) as other:
        platform.add_task("digits", {"everyone": True}, "ada")
        for number in (1, 2):
            add_version(platform, "digits", number)
        platform.create_release("digits", 1, {"stages": [{"kind": "full", "control": 0}], "watch": 0}, "ada")
        platform.report("device-0", [DeviceReport(1, "digits", "v1", failed=False)])
        times = []
        for number in range(2, 12):
            if number > 2:
                add_version(platform, "digits", number)
            release = platform.create_release("digits", number, PLAN, "ada")
            time.sleep(0.3)
            new = next(d for d in map(str, range(1000)) if other.explain(d, "digits").wanted != "v1")
            for device in range(100_000):
                mine = platform.explain(str(device), "digits")
                if mine.standing is None or mine.standing.offer.arm == "outside":
                    continue
                treated = mine.standing.offer.arm == "treatment"
                report = DeviceReport(number, "digits", f"v{number}" if treated else "v1", failed=treated)
                start = time.perf_counter()
                platform.report(str(device), [report])
                if platform.release(release).status != "running":
                    break
            asking = Profile(new)
            while other._watch.snapshot.wanted(asking)[0]["digits"] != "v1":
                time.sleep(0.001)
            times.append(time.perf_counter() - start)
        note = f"median of {len(times)}; at most {max(times) * 1000:.0f} ms; another worker"
        return (
            f"from the deciding report to rollback, {name}",
            f"{statistics.median(times) * 1e3:.0f} ms",
            note,
        )


def many(devices: int) -> list[Row]:
    """A million devices in SQLite, in a process that does nothing else."""
    with tempfile.TemporaryDirectory(prefix="walle-bench-") as folder:
        command = [sys.executable, __file__, "--fill", folder, "--devices", str(devices)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Row])


def seen(platform: Platform, one: Profile) -> bool:
    """Whether a check was answered; not on a machine so busy that a worker cannot look at the epoch in time."""
    try:
        platform.check(one)
    except BusyError:
        return False
    return True


def fill(folder: Path, devices: int) -> list[Row]:
    """What `many` runs."""
    with opened(f"sqlite:///{folder}/walle.db") as platform:
        rng = random.Random(7)
        everyone: list[dict[str, Any]] = [{"everyone": True}] * 16  # what nearly every device has
        stable(platform, [*everyone, *(policy(rng, each) for each in range(184))])
        live(platform, [f"task-{each}" for each in range(0, 200, 200 // LIVE)])
        rng, size = random.Random(11), 0
        base = resident()
        start, used = time.perf_counter(), time.process_time()
        making = 0.0
        for number in range(devices):
            begun = time.process_time()
            made = profile(rng)
            one = Profile(f"device-{number:07}", made.device, made.user, {})
            wanted = platform._watch.snapshot.wanted(one)[0]
            one = Profile(one.id, one.device, one.user, wanted)
            size += len(one.canonical)
            making += time.process_time() - begun
            while platform._writer.waiting > 8_000:
                time.sleep(0.01)
            while not seen(platform, one):
                time.sleep(0.01)
        platform._writer.flush()
        took = time.perf_counter() - start
        used = time.process_time() - used - making
        now, most = resident(), peak()
        quiet = platform.counts().quiet
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            platform.explain(f"device-{rng.randrange(devices):07}", f"task-{rng.randrange(200)}")
            times.append(time.perf_counter() - begun)
        page = []
        for _ in range(50):
            begun = time.perf_counter()
            platform.devices(after=f"device-{rng.randrange(devices):07}", limit=100)
            page.append(time.perf_counter() - begun)
        start = time.perf_counter()
        platform.counts()
        count = time.perf_counter() - start
    files = sum(path.stat().st_size for path in folder.iterdir())
    many = f"{devices:,} devices"
    rate = f"{devices / took:,.0f}/s, {used / devices * 1e6:.0f} µs of processor time each"
    return [
        (f"{many} in SQLite, file", f"{files / 1e6:,.0f} MB", f"profiles of {size / devices:.0f} bytes; {rate}"),
        (f"{many}, memory", f"{now / 1e6:,.0f} MB", f"at most {most / 1e6:,.0f} MB; {base / 1e6:,.0f} MB before; {quiet:,} quiet"),
        (f"{many}, explain one", f"{statistics.median(times) * 1e3:.1f} ms", f"at most {max(times) * 1e3:.1f} ms"),
        (f"{many}, a page of 100", f"{statistics.median(page) * 1e3:.1f} ms", f"all counts: {count * 1e3:.1f} ms"),
    ]  # fmt: skip


def resident() -> int:
    """Bytes in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most that it was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def rows(given: argparse.Namespace) -> Iterator[Row]:
    """All figures."""
    yield from checks(given.profiles)
    with sqlite() as url:
        yield reports("SQLite", url)
    with sqlite() as url:
        yield rollback("SQLite", url)
    with postgres(fsync=True) as server:
        yield reports("PostgreSQL", server.database())
        yield rollback("PostgreSQL", server.database())
    yield from many(given.devices)


def main() -> None:
    """Prints the table; with --markdown it writes it into a page, too."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profiles", type=int, default=24_000)
    options.add_argument("--devices", type=int, default=1_000_000)
    options.add_argument("--markdown", type=Path)
    options.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.fill:
        print(msgspec.json.encode(fill(given.fill, given.devices)).decode())
        return
    table = []
    for row in rows(given):
        table.append(row)
        print(f"{row[0]:55} {row[1]:>16}   {row[2]}", flush=True)
    if given.markdown:
        lines = [
            f"## The deployment server's core ({date.today()}, {machine()}, rates of one core)",
            "",
            f"Without HTTP; {given.profiles:,} different random profiles, {LIVE} of the tasks have a release that goes on.",
            "",
            "| what | figure | |",
            "|---|---:|---|",
            *(f"| {what} | {figure} | {note} |" for what, figure, note in table),
        ]
        write_section(given.markdown, "deploy_server", lines)


if __name__ == "__main__":
    main()
