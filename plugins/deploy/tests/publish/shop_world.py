"""What conftest.py gives to tests: a shop's repository and its keys, a device, and a network that breaks."""

import contextlib
import hashlib
import itertools
import socket
import threading
import time
from pathlib import Path

import attrs
from walle_deploy.agent.sources import Places, sources
from walle_deploy.client import DeployClient, ServerError
from walle_deploy.install.slots import Slots
from walle_deploy.install.transport import UrlTransport
from walle_deploy.install.update import update
from walle_deploy.manifest import Manifest
from walle_deploy.profile import Profile
from walle_deploy.publish import publish
from walle_deploy.server import folder as folders
from walle_deploy.store.deltas_index import DeltaIndex
from walle_deploy.store.files import FileStore
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.sshsig import SigningKey as TagKey
from walle_deploy.task.worktree import WorkTree
from walle_deploy.trust import AnswerVerifier, Gate, HttpTransport, ImageClient, TrustState, make_key

PASSPHRASE = "a passphrase for tests"  # of the image keys that a test's server makes
SCRIPT = b'"""Counts."""\n\n' + b"\n".join(
    b"def feature_%d(events):\n    return sum(event['n'] * %d for event in events) + %d\n" % (n, n * 7919 % 1009, n)
    for n in range(300)
)  # fmt: skip
CONFIG = """\
[task]
name = "{}"
script = "main.py"
{}
[trigger]
manual = true

[outputs]
n = {{ dtype = "json" }}
"""
_tasks = (f"ipv{n}" for n in itertools.count(1))


@attrs.frozen
class World:
    """A running server, and keys that it knows, or does not.

    Attributes:
        server: as `running_server` gives it.
        keys: folder with ``tag`` and ``allowed``, and strangers' ``other`` and ``stranger.pem``.
    """

    server: object
    keys: Path

    @property
    def url(self):
        return self.server.url

    @property
    def image_key(self):
        return self.server.folder / "keys" / "targets"

    def store(self):
        return FileStore.open(self.server.settings.store_url, folders.secret(self.server.folder))

    def index(self):
        return DeltaIndex(self.store())

    def client(self, role="admin", **options):
        return DeployClient(self.url, self.server.tokens[role], **options)


def make_world(server, folder):
    TagKey.generate().save(folder / "other")
    server.signer.save(folder / "tag")
    make_key(folder / "stranger.pem", lambda path: PASSPHRASE)
    (folder / "allowed").write_text(f"a@b {server.signer.public}\n")
    return World(server, folder)


class Shop:
    """A working folder with a task of its own on the server, and what its people do."""

    def __init__(self, folder, world):
        self.task, self.world = next(_tasks), world
        self.tree = WorkTree.open_or_init(folder, "shop")
        files = {"walle.toml": CONFIG.format(self.task, "").encode(), "main.py": SCRIPT}
        self.tree.start(self.task, {**files, "weights.bin": bytes(range(256)) * 64}, "One")
        self.scenario = self.tree.scenario
        self.allowed = Signers.load(world.keys / "allowed")

    def write(self, path, data):
        file = self.tree.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def version(self, message="New", key="tag", **files):
        """Commits and tags what is given; returns the number."""
        for path, data in files.items():
            self.write(path.replace("__", "/").replace("_py", ".py"), data)
        if self.tree.changed():
            self.tree.commit(message)
        return self.scenario.tag(self.task, TagKey.load(self.world.keys / key), message).number

    def publish(self, client, number, **options):
        key = self.world.server.keys["targets"]
        return publish(client, self.scenario, self.task, number, self.allowed, key, **options)

    def release(self, client, number):
        """To everyone at once; a release that goes on is ended before."""
        for each in client.releases(self.task, limit=1):
            if each.status in ("running", "paused"):
                client.rollback(each.id, "the next one")
        plan = {"stages": [{"kind": "full", "control": 0.0}], "watch": 0}
        return client.create_release(self.task, number, plan)

    def manifest(self, number):
        from walle_deploy.publish.version import manifest_of

        return manifest_of(self.task, number, self.scenario.files(self.task, f"v{number}"))


class Device:
    """Takes what both signatures say, and nothing else; everything comes through the server's HTTP."""

    def __init__(self, folder, server, name="phone-1"):
        self.server, self.name = server, name
        self.token = server.register(name)
        self.state = TrustState(folder / "state")
        transport = HttpTransport(f"{server.base_url}/images/")
        self.images = ImageClient(folder / "tuf", transport, server.root, self.state)
        self.gate = Gate(AnswerVerifier(name, self.state), self.images)
        self.slots = Slots(folder / "slots")
        self.files = UrlTransport()
        self.read_bytes = 0

    def read(self, url, offset):
        """The transport, counted."""
        for chunk in self.files.read(url, offset):
            self.read_bytes += len(chunk)
            yield chunk

    def offered(self, task):
        """What the gate approves of a task; None if it is not offered."""
        headers = {"authorization": f"Bearer {self.token}"}
        wire = self.server.call(
            "POST", "/walle/check", Profile(self.name).canonical, role=None, headers=headers, expect=200
        ).body
        decision = self.gate.decide(wire, {})
        assert not decision.refused, decision.refused
        return next((each for each in decision.approved if each.task == task), None)

    def install(self, task):
        """What is offered, checked and installed: path -> content."""
        approved = self.offered(task)
        image = self.images.image(task, approved.version)
        manifest = Manifest.decode(self.images.manifest(image))
        assert hashlib.sha256(manifest.encode()).digest() == approved.manifest
        places = Places.of(approved, self.server.url)
        with self.slots:
            found = sources(manifest, places, self, self.slots.have, True)
            version = update(self.slots, manifest, found, self)
            return {file.path: (version.folder / file.path).read_bytes() for file in manifest.files}


@contextlib.contextmanager
def breaking(client, at, before):
    """The client's request number `at` does not get through, or its answer does not."""
    original, left = client.http.request, itertools.count()

    def request(*args, **kwargs):
        broken = next(left) == at
        if broken and before:
            raise ServerError("cut before it was sent")
        made = original(*args, **kwargs)
        if broken:
            raise ServerError("cut before it was answered")
        return made

    client.http.request = request
    try:
        yield
    finally:
        client.http.request = original


@contextlib.contextmanager
def cutting(url, after):
    """A way to a server that ends for good after so many bytes towards it."""
    host, port = url.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left, lock, ended = [after], threading.Lock(), threading.Event()

    def carry(source, target, counted):
        with contextlib.suppress(OSError):
            while not ended.is_set() and (data := source.recv(1 << 16)):
                with lock:
                    if counted:
                        left[0] -= len(data)
                    if left[0] < 0:
                        ended.set()
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                ours, _ = listener.accept()
                if ended.is_set():
                    ours.close()
                    continue
                theirs = socket.create_connection((host, int(port)))
                sockets.extend((ours, theirs))
                for pair in ((ours, theirs, True), (theirs, ours, False)):
                    threads.append(threading.Thread(target=carry, args=pair, daemon=True))
                    threads[-1].start()

    sockets, threads = [], []
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in threads:
            thread.join(5)
        time.sleep(0)
