"""Files by digest: in a directory, in memory, in S3."""

import datetime
import hashlib
import os
import tracemalloc
import urllib.request

import obstore
import pytest
from obstore.store import MemoryStore
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.manifest import File, Manifest
from walle_deploy.store.collect import collect
from walle_deploy.store.files import FileStore

SECRET = b"0123456789abcdef"
DAY = 24 * 3600
KINDS = ["directory", "memory", "s3"]


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="session")
def s3():
    server_module = pytest.importorskip("moto.server", reason="S3 is played by moto[server]")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    request = urllib.request.Request(f"http://{host}:{port}/walle", method="PUT")
    urllib.request.urlopen(request).close()
    yield {
        "endpoint": f"http://{host}:{port}",
        "access_key_id": "a",
        "secret_access_key": "b",
        "region": "us-east-1",
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 1},
    }
    server.stop()


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    if request.param == "s3":
        return FileStore.open(f"s3://walle/{tmp_path.name}", SECRET, **request.getfixturevalue("s3"))
    return FileStore.open(tmp_path / "store" if request.param == "directory" else "memory://", SECRET)


def test_put_and_get(store):
    data = os.urandom(100_000)
    stored = store.put(data)
    assert (stored.sha256, stored.size, stored.new) == (digest(data), len(data), True)
    assert store.read(stored.sha256) == data
    assert store.has(stored.sha256)
    assert not store.put(iter([data[:7], data[7:]])).new
    store.delete(stored.sha256)
    store.delete(stored.sha256)
    assert not store.has(stored.sha256)
    with pytest.raises(StoreError, match="not in the store"):
        store.read(stored.sha256)
    assert store.put(b"").size == 0
    assert store.read(digest(b"")) == b""


def test_streams_and_paths(store, tmp_path):
    (tmp_path / "big").write_bytes(data := os.urandom(12 << 20))  # several parts
    stored = store.put(tmp_path / "big")
    assert stored.size == len(data)
    chunks = list(store.get(stored.sha256))
    assert len(chunks) > 1 or isinstance(store.objects, MemoryStore)
    assert b"".join(chunks) == data
    with pytest.raises(StoreError, match="at most"):
        store.read(stored.sha256, limit=len(data) - 1)


def test_a_damaged_file_is_set_aside_and_can_be_put_again(store):
    stored = store.put(b"weights" * 1000)
    key = store.key(stored.sha256)
    obstore.put(store.objects, key, b"weightz" * 1000)
    with pytest.raises(StoreError, match="aside"):
        store.read(stored.sha256)
    assert not store.has(stored.sha256)
    assert bytes(obstore.get(store.objects, f"aside/{key}").bytes()).startswith(b"weightz")
    assert store.put(b"weights" * 1000).new
    assert store.read(stored.sha256) == b"weights" * 1000


def test_a_torn_file_is_put_again(store):
    stored = store.put(b"weights" * 1000)
    obstore.put(store.objects, store.key(stored.sha256), b"wei")
    store.put(b"weights" * 1000)
    assert store.read(stored.sha256) == b"weights" * 1000


def test_exclusive_files_are_below_a_prefix_of_their_device(store):
    stored = store.put(b"personal", device="phone-1")
    assert not store.has(stored.sha256)
    assert not store.has(stored.sha256, "phone-2")
    assert store.read(stored.sha256, "phone-1") == b"personal"
    assert digest(b"phone-1") not in store.key(stored.sha256, "phone-1")
    other = FileStore(store.objects, b"another secret!!")
    assert other.prefix("phone-1") != store.prefix("phone-1")
    with pytest.raises(StoreError, match="secret"):
        FileStore(store.objects).put(b"personal", device="phone-1")
    with pytest.raises(StoreError, match="at least"):
        FileStore(store.objects, b"short")


def test_digests_name_no_other_object(store):
    for wrong in ("../../etc/passwd", "A" * 64, "a" * 63, "", "a" * 64 + "\n"):
        with pytest.raises(DeployError):
            store.read(wrong)


def test_collection_keeps_what_is_named_or_young(store):
    named, lost, delta = store.put(b"named"), store.put(b"lost"), store.put(b"delta")
    mine, other = store.put(b"mine", "phone-1"), store.put(b"mine", "phone-2")
    files = [File("a", named.sha256, 5), File("b", mine.sha256, 4, exclusive=True)]
    manifests = [(Manifest.of("t", "1", files), "phone-1")]
    assert collect(store, manifests, [delta.sha256]).removed == 0
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    done = collect(store, manifests, [delta.sha256], now=later)
    assert (done.removed, done.bytes, done.kept) == (2, 8, 3)
    assert store.has(named.sha256)
    assert store.has(delta.sha256)
    assert store.has(mine.sha256, "phone-1")
    assert not store.has(lost.sha256)
    assert not store.has(other.sha256, "phone-2")
    with pytest.raises(StoreError, match="at least"):
        collect(store, manifests, min_age_s=60)
    with pytest.raises(StoreError, match="without a device"):
        collect(store, [(manifests[0][0], "")])


def test_an_old_file_that_is_put_again_is_young(tmp_path):
    store = FileStore.open(tmp_path)
    stored = store.put(b"old")
    path = tmp_path / store.key(stored.sha256)
    os.utime(path, (1e9, 1e9))
    assert not store.put(b"old").new
    assert collect(store, []).removed == 0
    os.utime(path, (1e9, 1e9))
    assert collect(store, []).removed == 1


def test_urls(tmp_path, s3):
    local = FileStore.open(tmp_path / "with space")
    stored = local.put(b"content")
    with urllib.request.urlopen(local.url(stored.sha256)) as answer:
        assert answer.read() == b"content"
    distant = FileStore.open("s3://walle/urls", SECRET, **s3)
    distant.put(b"content")
    with urllib.request.urlopen(distant.url(stored.sha256)) as answer:
        assert answer.read() == b"content"
    assert "Signature" in distant.url(stored.sha256)
    cdn = FileStore.open("memory://", base_url="https://cdn.example/walle/")
    assert cdn.url(stored.sha256) == f"https://cdn.example/walle/{cdn.key(stored.sha256)}"
    with pytest.raises(StoreError, match="base_url"):
        FileStore.open("memory://").url(stored.sha256)


def test_a_store_that_cannot_be_reached(tmp_path, s3):
    away = FileStore.open("s3://nowhere/x", SECRET, **s3)
    with pytest.raises(StoreError):
        away.put(b"content")
    with pytest.raises(StoreError, match="cannot be opened"):
        FileStore.open("gopher://x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        FileStore.open(tmp_path / "file" / "below").put(b"x")

    def broken():
        yield b"x"
        raise OSError("the disk is gone")

    with pytest.raises(StoreError, match="gone"):
        FileStore.open(tmp_path / "store").put(broken())


def test_memory_is_bounded(tmp_path):
    store = FileStore.open(tmp_path / "store")
    stored = store.put(bytes(1 << 20) for _ in range(3))
    tracemalloc.start()
    try:
        store.put(bytes(1 << 20) + bytes([n]) for n in range(100))
        for _ in store.get(stored.sha256):
            pass
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
