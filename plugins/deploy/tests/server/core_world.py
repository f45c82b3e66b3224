"""A platform with a clock that can be set, an operator who makes what is needed, and devices that understand answers."""

from __future__ import annotations

import itertools

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from walle_deploy.buckets import bucket
from walle_deploy.manifest import File, Manifest
from walle_deploy.profile import Profile
from walle_deploy.release.offers import offer
from walle_deploy.release.state import decode
from walle_deploy.server.platform import Platform
from walle_deploy.server.schema import releases
from walle_deploy.server.types import DeviceReport
from walle_deploy.trust.answer import AnswerSigner, Director, open_answer
from walle_deploy.trust.keys import SigningKey

SECRET = bytes(range(32))
BASE = "https://deploy.example/walle"
AT_ONCE = {"stages": [{"kind": "full", "control": 0}], "watch": 0}
FULL = {"kind": "full"}
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(SECRET))
LEASE = 0.05


def gray(percent, *gates, **fields):
    return {"kind": "gray", "percent": percent, "gates": list(gates), **fields}


def plan(*stages, **fields):
    return {"stages": list(stages), **fields}


class Clock:
    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def opened(url, clock=None, **options):
    """A worker's platform; without a thread unless `poll` is given."""
    given = {"poll": None, "lease": 3600.0, **options}
    if clock is not None:
        given["clock"] = clock
    return Platform.open(url, secret=SECRET, signer=AnswerSigner(KEY), base_url=BASE, **given)


def manifest(task, number, *files):
    return Manifest.of(task, f"v{number}", files or [File("task.py", f"{number:064x}", 100)]).encode()


def answer(wire):
    """What an answer holds."""
    return open_answer(wire, Director((KEY.public,)))


class World:
    def __init__(self, url, **options):
        self.url, self.clock = url, Clock()
        self.platform = opened(url, self.clock, **options)
        self.platform._lease = 0.0  # only one worker, which knows at once
        self.numbers = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.platform.close()

    def wait(self, seconds):
        self.clock.now += seconds
        self.platform.tick()
        self.platform.refresh()

    def task(self, name="digits", policy=None, versions=(1, 2)):
        self.platform.add_task(name, policy or {"everyone": True}, "ada")
        for number in versions:
            self.version(name, number)
        return name

    def version(self, task, number, *files, **about):
        given = {"commit": f"{number:040x}", "message": f"version {number}", "signer": "ada", **about}
        return self.platform.add_version(
            task, number, **given, manifest=manifest(task, number, *files), who="ada"
        )

    def stable(self, task="digits", number=1):
        """Releases a version to all at once."""
        release = self.platform.create_release(task, number, AT_ONCE, "ada")
        running = next(d for d in map(str, itertools.count()) if self.offered(d, task=task) == number)
        self.report(running, number, task=task)
        assert self.platform.release(release).status == "finished"
        return release

    def profile(self, device, installed=None, /, **attributes):
        return Profile(device, attributes, {}, {} if installed is None else installed)

    def check(self, device, installed=None, /, **attributes):
        """Task -> number of what an answer says; None if nothing is new."""
        wire = self.platform.check(self.profile(device, installed, **attributes))
        return None if wire is None else {task.name: task.version for task in answer(wire).tasks}

    def offered(self, device, installed=None, /, task="digits", **attributes):
        """The number of the task's version that the device should run."""
        found = self.check(device, installed, **attributes)
        text = (installed or {}).get(task) if found is None else found.get(task)
        return int(text[1:]) if isinstance(text, str) else text

    def report(self, device, number, *, task="digits", failed=False, again=None, **fields):
        own = next(self.numbers) if again is None else again
        version = None if number is None else f"v{number}"
        self.platform.report(device, [DeviceReport(own, task, version, failed, **fields)])
        self.platform.refresh()
        return own

    def devices(self, low, high, task="digits", salt=""):
        """Devices whose bucket is in this share, in percent; without end."""
        for number in itertools.count():
            device = f"{salt}{number}"
            if low <= bucket(task, device) / 2**32 * 100 < high:
                yield device

    def state(self, release):
        """The release's state, as it is stored."""
        with self.platform.database.read() as found:
            query = sa.select(releases.c.state).where(releases.c.id == release)
            return decode(found.execute(query).scalar_one())

    def arms(self, release, devices, task="digits"):
        """Device -> its arm now."""
        state = self.state(release)
        return {d: offer(state, d, bucket(task, d), running=state.version).arm for d in devices}

    def run(self, release, devices, failed=lambda arm, number: False, task="digits", **fields):
        """All devices run what they were offered and report it, in some transactions; returns their arms."""
        state = self.state(release)
        numbers = {"treatment": state.version, "control": state.previous, "outside": state.version}
        arms = self.arms(release, devices, task)
        done = []
        for place, (device, arm) in enumerate(arms.items()):
            own = next(self.numbers)
            given = {name: value(arm, place) for name, value in fields.items()}
            report = DeviceReport(own, task, numbers[arm], failed(arm, place), **given)
            done.append(self.platform.begin_report(device, [report]))
        for each in done:
            each.result(30)
        self.platform.refresh()
        return arms

    def written(self):
        self.platform._writer.flush()
        return self
