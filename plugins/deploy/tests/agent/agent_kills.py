"""Kills an agent at random moments, again and again, while versions and events come; python agent_kills.py FOLDER KILLS.

The server is a process of its own. Whenever a device has all that is offered, it may release another version, of which
every fifth is broken.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
import urllib.request
from pathlib import Path

from agent_world import QUICK, World, visit, visits
from attrs import evolve
from walle_deploy.agent.agent import Agent
from walle_deploy.install.slots import Slots
from walle_deploy.profile import Profile

TASK = "count"
SETTINGS = evolve(QUICK, every_s=0.05, longest_s=0.05, queue=10_000)


def script(version):
    body = "raise ValueError('broken')" if version % 5 == 0 else f"return {{'n': {version}}}"
    return f"def main(events):\n    {body}\n"


class Releasing(World):
    """Releases by itself, and tells all that it has heard."""

    version, chance, wrong = 1, random.Random(2), ()

    def on_post(self, handler):
        super().on_post(handler)
        if handler.path == "/walle/check":
            found = Profile.read(handler.data).installed.get(TASK)
            self.perhaps_release(found == f"v{self.version}" or self.version % 5 == 0)

    def on_get(self, handler):
        if handler.path == "/heard":
            handler.answer(200, json.dumps([self.version, self.reports, list(self.wrong)]).encode())
            return
        super().on_get(handler)
        if handler.path == "/walle/check":
            self.perhaps_release(handler.headers["Walle-Profile"] in self.quiet)

    def perhaps_release(self, done):
        if done and self.chance.random() < 0.3:
            self.version += 1
            self.release(TASK, self.version, visits(TASK, script(self.version)))

    def take(self, reports):
        try:
            super().take(reports)
        except AssertionError as error:
            self.wrong = [*self.wrong, str(error)]


def serve(folder, tell):
    with Releasing(folder) as world:
        world.release(TASK, 1, visits(TASK, script(1)))
        (folder / "root.json").write_bytes(world.fleet.bootstrap)
        os.write(tell, world.url.encode() + b"\n")
        signal.pause()


def agent_of(folder, url, root):
    return Agent(folder, url, root, "phone-1", enrol="enrol-me", settings=SETTINGS, backends=False)


def live(folder, url, root, tell):
    """Feeds visit after visit; tells of each report that is durable."""
    agent = agent_of(folder, url, root)
    record = agent._journal.record

    def recorded(*args, **options):
        number = record(*args, **options)
        os.write(tell, b"%d\n" % number)
        return number

    agent._journal.record = recorded
    agent.start()
    while True:
        agent.feed(visit(agent.pipeline.position // 3))
        agent.idle(0.02)


def lines_of(handle):
    with os.fdopen(handle, "rb") as file:
        return file.read().split(b"\n")[:-1]


def round_(folder, url, root, wait):
    """One life of an agent; the numbers that it told."""
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(hear)
            live(folder, url, root, tell)
        finally:
            os._exit(3)
    os.close(tell)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the agent failed"
    return [int(line) for line in lines_of(hear)]


def check(folder):
    """What is installed is whole: the version that runs, or None."""
    slots = Slots(folder / "tasks")
    slots.open(10)  # a process that the agent was starting may have its files for a moment
    with contextlib.closing(slots):
        found = slots.load(TASK)
        assert not list((folder / "tasks" / "temp").iterdir())
        return found and found.manifest.version


def left(folder):
    """Processes that still live in the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [path.parent.name] if str(path.readlink()).startswith(str(folder)) else []
        except OSError:
            continue
    return found


def main(folder, kills):
    hear, tell = os.pipe()
    server = os.fork()
    if not server:
        try:
            serve(folder / "world", tell)
        finally:
            os._exit(3)
    os.close(tell)
    with os.fdopen(hear, "rb") as file:
        url = file.readline().decode().strip()
    root = (folder / "world" / "root.json").read_bytes()
    device = folder / "device"
    chance = random.Random(1)
    try:
        first = agent_of(device, url, root)
        first.start(checks=False)
        assert first.check()
        first.close()
        told, seen = set(), set()
        for _ in range(kills):
            told.update(round_(device, url, root, chance.uniform(0, 0.5)))
            seen.add(check(device))
        assert None not in seen
        with agent_of(device, url, root) as last:
            assert last.idle(30)
            fed = last.pipeline.position // 3
            assert last.flush(30)
        version, reports, wrong = json.loads(urllib.request.urlopen(f"{url}/heard").read())
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    assert not wrong, wrong
    lost = told - set(map(int, reports))
    assert not lost, f"{sorted(lost)} were durable on the device and never came"
    runs = [row for row in reports.values() if "ms" in row[3]]
    odd = [
        row
        for row in reports.values()
        if "ms" not in row[3] and "reverted" not in row[3] and "refused" not in row[3]
    ]
    assert len(runs) == fed, f"{len(runs)} runs of {fed} visits; {odd[:9]}"
    assert not odd, odd[:9]
    until = time.monotonic() + 5
    while left(folder) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left(folder)
    back = sum("reverted" in row[3] for row in reports.values())
    print(
        f"{kills} kills, {version} versions released, {len(seen)} seen after kills, {fed} visits with one run each, "
        f"{len(told)} reports told, {len(reports)} came, {back} ways back"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
