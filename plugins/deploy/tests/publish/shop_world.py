"""What conftest.py gives to tests."""

import contextlib
import hashlib
from pathlib import Path

import attrs
from double import Double, running
from walle_deploy.install.fetch import Source
from walle_deploy.install.slots import Slots
from walle_deploy.install.update import update
from walle_deploy.manifest import Manifest
from walle_deploy.publish import publish
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.sshsig import SigningKey as TagKey
from walle_deploy.task.worktree import WorkTree
from walle_deploy.trust import (
    AnswerSigner,
    AnswerTask,
    AnswerVerifier,
    Director,
    FolderTransport,
    Gate,
    ImageClient,
    ImageRepository,
    RoleKeys,
    TrustState,
    load_key,
    make_key,
    new_key,
)

SCRIPT = b'"""Counts."""\n\n' + b"\n".join(
    b"def feature_%d(events):\n    return sum(event['n'] * %d for event in events) + %d\n" % (n, n * 7919 % 1009, n)
    for n in range(300)
)  # fmt: skip
CONFIG = b"""\
[task]
name = "%s"
script = "main.py"

[trigger]
manual = true

[outputs]
n = { dtype = "json" }
"""


@attrs.frozen
class Keys:
    folder: Path
    tag: Path
    image: Path
    other_tag: Path
    other_image: Path

    def image_key(self):
        return load_key(self.image, lambda path: "correct horse")


def make_keys(folder):
    for name in ("tag", "other"):
        TagKey.generate().save(folder / name)
    for name in ("image.pem", "stranger.pem"):
        make_key(folder / name, lambda path: "correct horse")
    allowed = f"a@b {(folder / 'tag.pub').read_text()}"
    (folder / "allowed").write_text(allowed)
    return Keys(folder, folder / "tag", folder / "image.pem", folder / "other", folder / "stranger.pem")


class Shop:
    """A working folder with a task, and what its people do."""

    def __init__(self, tree, keys):
        self.tree, self.keys = tree, keys
        self.scenario = tree.scenario
        self.allowed = Signers.load(keys.folder / "allowed")

    def write(self, path, data):
        file = self.tree.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def version(self, message="New", key=None, **files):
        """Commits and tags what is given; returns the number."""
        for path, data in files.items():
            self.write(path.replace("__", "/").replace("_py", ".py"), data)
        if self.tree.changed():
            self.tree.commit(message)
        signer = TagKey.load(key or self.keys.tag)
        return self.scenario.tag("ipv", signer, message).number

    def publish(self, client, number, **options):
        return publish(client, self.scenario, "ipv", number, self.allowed, self.keys.image_key(), **options)


def make_shop(folder, keys):
    tree = WorkTree.open_or_init(folder, "shop")
    tree.start(
        "ipv",
        {"walle.toml": CONFIG % b"ipv", "main.py": SCRIPT, "weights.bin": bytes(range(256)) * 64},
        "One",
    )
    return Shop(tree, keys)


@attrs.frozen
class Running:
    double: Double
    url: str
    folder: Path
    director: object
    bootstrap: bytes


@contextlib.contextmanager
def make_server(folder, keys):
    online, root, director = new_key(), new_key(), new_key()
    image = load_key(keys.image, lambda path: "correct horse")
    repository = ImageRepository.create(
        folder / "images",
        {
            "root": RoleKeys([root.public]), "targets": RoleKeys([image.public]),
            "snapshot": RoleKeys([online.public]), "timestamp": RoleKeys([online.public]),
        },
        Director((director.public,)),
    )  # fmt: skip
    repository.sign("root", root)
    repository.sign("targets", image)
    repository.publish(online)
    double = Double(repository, [online])
    with running(double) as url:
        yield Running(double, url, folder, director, repository.root(1))


class Device:
    """Takes what both signatures say, and nothing else."""

    def __init__(self, folder, server, name="phone-1"):
        self.server, self.name, self.counter, self.read_bytes = server, name, 0, 0
        self.state = TrustState(folder / "state")
        transport = FolderTransport(server.folder / "images")
        self.images = ImageClient(folder / "tuf", transport, server.bootstrap, self.state)
        self.gate = Gate(AnswerVerifier(name, self.state), self.images)
        self.slots = Slots(folder / "slots")

    def read(self, url, offset):
        """The transport: straight from the server's store."""
        import obstore

        data = bytes(obstore.get(self.server.double.store.objects, url).bytes())[offset:]
        self.read_bytes += len(data)
        yield data

    def install(self, task, number):
        """What is offered, checked and installed: path -> content."""
        import time

        store, now = self.server.double.store, int(time.time())
        manifest = self.server.double.manifests[task, number].encode()
        self.counter += 1
        offered = AnswerTask(task, number, hashlib.sha256(manifest).digest(), len(manifest), "https://x")
        wire = AnswerSigner(self.server.director).sign(
            self.name, [offered], counter=self.counter, issued=now, expires=now + 600
        )
        decision = self.gate.decide(wire, {})
        assert not decision.refused, decision.refused
        proven = Manifest.decode(self.images.manifest(self.images.image(task, number)))
        sources = {
            file.sha256: Source(
                store.key(file.sha256, self.name if file.exclusive else ""),
                tuple(
                    (delta, store.key(delta.sha256)) for delta in self.server.double.index.get(file.sha256)
                ),
            )
            for file in proven.files
        }
        with self.slots:
            version = update(self.slots, proven, sources, self)
            return {file.path: (version.folder / file.path).read_bytes() for file in proven.files}
