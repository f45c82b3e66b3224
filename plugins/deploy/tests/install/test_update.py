"""From a store to a device: the second version comes as deltas."""

import hashlib
import random

import numpy as np
import pytest
from walle_deploy.deltas.choose import smallest
from walle_deploy.deltas.contract import Delta
from walle_deploy.errors import StoreError
from walle_deploy.install.fetch import Source
from walle_deploy.install.slots import Slots
from walle_deploy.install.transport import UrlTransport
from walle_deploy.install.update import update
from walle_deploy.manifest import File, Manifest
from walle_deploy.store.files import FileStore

WEIGHTS = np.random.default_rng(3).standard_normal(30_000).astype("f4")
SCRIPT = b"".join(b"print(%d)\n" % random.Random(n).randrange(1000) for n in range(900))
FIRST = {"net.bin": WEIGHTS.tobytes(), "main.py": SCRIPT, "mine.json": b"{}"}
SECOND = {"net.bin": (WEIGHTS * 1.001).tobytes(), "main.py": SCRIPT + b"print()\n", "mine.json": b"[1]"}


def released(store, version, contents, old=()):
    """(manifest, sources) of what is put into a store; one file is exclusive."""
    files, sources = [], {}
    for path, data in contents.items():
        device = "phone-1" if path == "mine.json" else ""
        stored = store.put(data, device)
        files.append(File(path, stored.sha256, stored.size, exclusive=bool(device)))
        deltas = []
        if path in old and not device and (made := smallest(old[path], data)) is not None:
            delta = store.put(made.data)
            base = hashlib.sha256(old[path]).hexdigest()
            deltas.append((Delta(made.codec, base, delta.sha256, delta.size), store.url(delta.sha256)))
        sources[stored.sha256] = Source(store.url(stored.sha256, device), tuple(deltas))
    return Manifest.of("search", version, files), sources


@pytest.fixture
def store(tmp_path):
    return FileStore.open(tmp_path / "store", b"0123456789abcdef")


class Counting(UrlTransport):
    """Reads files and counts the bytes."""

    def __init__(self):
        super().__init__(schemes=["file"])
        self.bytes = 0

    def read(self, url, offset):
        for chunk in super().read(url, offset):
            self.bytes += len(chunk)
            yield chunk


def test_the_whole_way(store, tmp_path):
    web = Counting()
    with Slots(tmp_path / "device") as slots:
        found = update(slots, *released(store, "v1", FIRST), web)
        assert {path: (found.folder / path).read_bytes() for path in FIRST} == FIRST
        first, web.bytes = web.bytes, 0
        slots.confirm("search")
        found = update(slots, *released(store, "v2", SECOND, FIRST), web)
        assert {path: (found.folder / path).read_bytes() for path in SECOND} == SECOND
        assert web.bytes < 0.65 * first
        assert not list(slots.downloads.iterdir())
        reverted = slots.revert("search")
        assert {path: (reverted.folder / path).read_bytes() for path in FIRST} == FIRST


def test_what_cannot_be_fetched_changes_nothing(store, tmp_path):
    with Slots(tmp_path / "device") as slots:
        first = update(slots, *released(store, "v1", FIRST), Counting())
        manifest, sources = released(store, "v2", SECOND, FIRST)
        for file in manifest.files:
            if file.path == "net.bin":
                path = store.key(file.sha256)
                (tmp_path / "store" / path).write_bytes(b"other")
                sources[file.sha256] = Source(sources[file.sha256].url)
        with pytest.raises(StoreError):
            update(slots, manifest, sources, Counting())
        with pytest.raises(StoreError):
            update(slots, manifest, {}, Counting())
        assert slots.load("search") == first
