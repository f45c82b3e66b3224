"""A fleet for the attacks: an image repository with a team, a director, and devices over a transport that can lie."""

from pathlib import Path

from tuf.api.metadata import Metadata, MetaFile
from tuf.api.serialization.json import JSONSerializer
from walle_deploy.trust import (
    AnswerSigner,
    AnswerTask,
    AnswerVerifier,
    Director,
    FolderTransport,
    Gate,
    ImageClient,
    ImageRepository,
    Limits,
    RoleKeys,
    TrustState,
    new_key,
)
from walle_deploy.trust.images import Image

DAY = 86_400
START = 1_900_000_000
BASE = "https://cdn.example/objects"


class Mirror:
    """Serves a published folder; ``replaced`` holds what it serves instead, path -> bytes, None or a function."""

    def __init__(self, folder):
        self.inner = FolderTransport(folder)
        self.replaced = {}
        self.asked = []

    def open(self, path, timeout):
        self.asked.append(path)
        if path not in self.replaced:
            return self.inner.open(path, timeout)
        other = self.replaced[path]
        if other is None:
            raise FileNotFoundError(path)
        return other() if callable(other) else iter([other])


class Fleet:
    def __init__(self, folder: Path):
        self.folder = folder
        self.time = START
        self.root_keys = [new_key() for _ in range(3)]
        self.targets_key, self.team_key = new_key(), new_key()
        self.snapshot_key, self.timestamp_key = new_key(), new_key()
        self.director_key = new_key()
        self.epoch = 0
        self.counter = 0
        self.repository = ImageRepository.create(
            folder / "images",
            {
                "root": RoleKeys([key.public for key in self.root_keys], 2),
                "targets": RoleKeys([self.targets_key.public]),
                "snapshot": RoleKeys([self.snapshot_key.public]),
                "timestamp": RoleKeys([self.timestamp_key.public]),
            },
            Director((self.director_key.public,)),
            clock=self.clock,
        )
        self.repository.delegate("shop-team", ["shop/*/*"], RoleKeys([self.team_key.public]))
        self.publish()
        self.bootstrap = self.repository.root(1)
        self.mirror = Mirror(folder / "images")

    def clock(self):
        return self.time

    def publish(self):
        """Sign what is staged with the keys that may, and publish it."""
        keys = {"root": self.root_keys[:2], "targets": [self.targets_key], "shop-team": [self.team_key]}
        for role in self.repository.staged():
            self.repository.sign(role, *keys[role])
        self.repository.publish(self.snapshot_key, self.timestamp_key)

    def release(self, task, version, content=None):
        content = content or f"manifest of {task} {version}".encode()
        self.repository.add(task, version, content)
        self.publish()
        return self.task(task, version, content)

    def task(self, name, version, content, flags=0):
        import hashlib

        return AnswerTask(name, version, hashlib.sha256(content).digest(), len(content), BASE, flags)

    def answer(
        self, *tasks, device="phone-1", counter=None, nonce=b"", life=DAY, issued=None, key=None, epoch=None
    ):
        self.counter = self.counter + 1 if counter is None else counter
        signer = AnswerSigner(key or self.director_key, self.epoch if epoch is None else epoch)
        issued = self.time if issued is None else issued
        return signer.sign(
            device, tasks, counter=self.counter, issued=issued, expires=issued + life, nonce=nonce
        )

    def saved(self):
        """What is published now, to be served later."""
        images = self.folder / "images"
        return {str(path.relative_to(images)): path.read_bytes() for path in (images / "metadata").iterdir()}


class Device:
    """A device that can be started again, with a clock of its own."""

    def __init__(self, fleet, name="phone-1", limits=None):
        self.fleet, self.name, self.limits = fleet, name, limits or Limits(seconds=10)
        self.folder = fleet.folder / name
        self.off_by = 0
        self.installed = {}
        self.state = None
        self.start()

    def clock(self):
        return self.fleet.time + self.off_by

    def start(self):
        if self.state is not None:
            self.state.close()
        self.state = TrustState(self.folder / "state")
        self.images = ImageClient(
            self.folder / "tuf", self.fleet.mirror, self.fleet.bootstrap, self.state, self.clock, self.limits
        )
        self.answers = AnswerVerifier(self.name, self.state, self.clock)
        self.gate = Gate(self.answers, self.images)

    def decide(self, wire, **settings):
        return self.gate.decide(wire, self.installed, **settings)


def load(fleet, path):
    return Metadata.from_bytes((fleet.folder / "images" / "metadata" / path).read_bytes())


def serve(fleet, path, metadata, *keys):
    """Sign with stolen keys, and let the mirror serve it."""
    metadata.signatures.clear()
    for key in keys:
        metadata.sign(key.tuf, append=True)
    data = metadata.to_bytes(JSONSerializer(compact=True))
    fleet.mirror.replaced[f"metadata/{path}"] = data
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])


def forged_timestamp(fleet, snapshot, version, key=None):
    timestamp = load(fleet, "timestamp.json")
    timestamp.signed.version = version
    timestamp.signed.snapshot_meta = snapshot
    serve(fleet, "timestamp.json", timestamp, key or fleet.timestamp_key)


def forged_snapshot(fleet, version, keys=None, **files):
    """A snapshot and a timestamp by the thief of both online keys."""
    newest = max(
        int(path.name.split(".")[0]) for path in (fleet.folder / "images/metadata").glob("*.snapshot.json")
    )
    snapshot = load(fleet, f"{newest}.snapshot.json")
    snapshot.signed.version = version
    snapshot.signed.meta.update({f"{role}.json": meta for role, meta in files.items()})
    forged_timestamp(fleet, serve(fleet, f"{version}.snapshot.json", snapshot, fleet.snapshot_key), version)


__all__ = [
    "BASE",
    "DAY",
    "START",
    "Device",
    "Fleet",
    "Image",
    "Mirror",
    "forged_snapshot",
    "forged_timestamp",
    "load",
    "serve",
]
