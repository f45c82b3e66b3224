"""What devices pull: files with ranges, image metadata, lists of deltas, and no path that leads elsewhere."""

import asyncio
import hashlib

import pytest
from http_world import ask
from walle_deploy.deltas.contract import Delta
from walle_deploy.server import folder
from walle_deploy.server.files import Files
from walle_deploy.server.metrics import Metrics
from walle_deploy.store.deltas_index import DeltaIndex
from walle_deploy.store.files import FileStore

DATA = bytes(range(256)) * 40
SECRET = b"s" * 32


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return folder.make(tmp_path_factory.mktemp("files") / "data", "a passphrase")


@pytest.fixture(params=["directory", "memory"])
def files(request, made):
    where = str(made.path("objects")) if request.param == "directory" else "memory://"
    store = FileStore.open(where, SECRET)
    store.put(DATA)
    store.put(b"")
    store.put(b"mine", "phone-1")
    return Files(store, made.path("images"), Metrics())


def get(files, path, **options):
    headers = [(k.encode(), v.encode()) for k, v in options.pop("headers", {}).items()]
    return asyncio.run(ask(files, options.pop("method", "GET"), f"/walle/{path}", headers=headers, **options))


def place(data):
    digest = hashlib.sha256(data).hexdigest()
    return f"files/{digest[:2]}/{digest[2:]}"


def test_a_file_comes_whole_and_may_be_kept_for_ever(files):
    got = get(files, place(DATA))
    assert (got.status, got.body) == (200, DATA)
    assert got.headers["content-length"] == str(len(DATA))
    assert "immutable" in got.headers["cache-control"]
    assert get(files, place(DATA), method="HEAD").headers["content-length"] == str(len(DATA))
    again = get(files, place(DATA), headers={"if-none-match": got.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, 10240), ("bytes=100-", 100, 10240), ("bytes=10239-", 10239, 10240), ("bytes=5-9", 5, 10),
        ("bytes=10000-99999999", 10000, 10240), ("bytes=-10", 10230, 10240), ("bytes=-99999", 0, 10240),
    ],
)  # fmt: skip
def test_a_range_comes_alone(files, asked, start, end):
    got = get(files, place(DATA), headers={"range": asked})
    assert (got.status, got.body) == (206, DATA[start:end])
    assert got.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert got.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused(files, asked):
    assert get(files, place(DATA), headers={"range": asked}).status == 416


@pytest.mark.parametrize(
    "asked", ["bytes=-", "bytes=9-5", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes=" + "9" * 99 + "-"]
)
def test_a_range_that_is_none_gives_the_whole_file(files, asked):
    got = get(files, place(DATA), headers={"range": asked})
    assert (got.status, got.body) == (200, DATA)


def test_a_range_of_another_file_gives_the_whole_file(files):
    assert get(files, place(DATA), headers={"range": "bytes=5-", "if-range": '"other"'}).status == 200
    tag = get(files, place(DATA)).headers["etag"]
    assert get(files, place(DATA), headers={"range": "bytes=5-", "if-range": tag}).status == 206


def test_an_empty_file_is_a_file(files):
    assert (get(files, place(b"")).status, get(files, place(b"")).body) == (200, b"")
    assert get(files, place(b""), headers={"range": "bytes=0-"}).status == 416


def test_an_exclusive_file_is_only_below_its_own_prefix(files):
    prefix = files._store.prefix("phone-1")
    path = place(b"mine").removeprefix("files")
    assert get(files, prefix + path).body == b"mine"
    assert get(files, "files" + path).status == 404
    assert get(files, files._store.prefix("phone-2") + path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "files/../secret", "files/ab/../../secret", "files/..%2fsecret", "images/../secret", "images/metadata/../../secret",
        "images/staged/targets.json", "images/lock", "images/metadata/.hidden", "images/metadata/", "images/metadata",
        "images//etc/passwd", "images/metadata/\0", "files/", "files/ab", "devices/phone-1/ab/" + "0" * 62, "deltas/../x",
        "devices/" + "0" * 64 + "/ab/" + "0" * 62, "files/AB/" + "0" * 62, "files/ab/" + "0" * 61 + "/", "nothing", "",
        "images/targets/" + "a/" * 50 + "b", "images/metadata/" + "a" * 5000, "aside/files/ab/" + "0" * 62,
        "images/metadata/1.root.json/x",
    ],
)  # fmt: skip
def test_no_path_leads_elsewhere(files, path):
    got = get(files, path)
    assert got.status == 404
    assert set(got.json) == {"error", "fix"}


def test_only_reading_is_allowed(files):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert get(files, place(DATA), method=method).status == 405


def test_image_metadata_comes_as_it_is_published(files, made):
    root = get(files, "images/metadata/1.root.json")
    assert root.body == (made.path("images", "metadata", "1.root.json")).read_bytes()
    assert "immutable" in root.headers["cache-control"]
    assert (
        get(files, "images/metadata/1.root.json", headers={"if-none-match": root.headers["etag"]}).status
        == 304
    )
    assert get(files, "images/metadata/99.root.json").status == 404
    assert get(files, "images/metadata/timestamp.json").headers["cache-control"] == "no-cache"


def test_a_new_timestamp_is_seen_at_once(files, made):
    path = made.path("images", "metadata", "timestamp.json")
    before, data = get(files, "images/metadata/timestamp.json"), path.read_bytes()
    path.with_suffix(".new").write_bytes(b"{}")
    path.with_suffix(".new").replace(path)
    assert (
        get(files, "images/metadata/timestamp.json", headers={"if-none-match": before.headers["etag"]}).body
        == b"{}"
    )
    path.write_bytes(data)


def test_deltas_are_listed_even_if_there_are_none(files):
    digest = hashlib.sha256(DATA).hexdigest()
    assert get(files, f"deltas/{'0' * 64}").json == []
    delta = Delta("bsdiff", "1" * 64, hashlib.sha256(b"").hexdigest(), 0)
    DeltaIndex(files._store).put(digest, [delta])
    assert get(files, f"deltas/{digest}").json[0]["codec"] == "bsdiff"


def test_a_store_that_fails_is_told_and_not_shown(files, monkeypatch):
    monkeypatch.setattr(files._store, "objects", object())
    got = get(files, place(DATA))
    assert got.status == 500
    assert got.json["error"] == "the server failed"


def test_what_was_sent_is_counted(files):
    get(files, place(DATA))
    get(files, "images/metadata/1.root.json")
    counts = files._metrics.counts["file_bytes"]
    assert counts["files"] == len(DATA)
    assert counts["images"] > 500


def test_a_file_is_read_only_for_as_long_as_somebody_wants_it(files):
    large = bytes(40 << 20)
    files._store.put(large)
    sent = []

    async def leave_early():
        left = asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(len(message.get("body", b"")))
            left.set()
            await asyncio.sleep(0)

        scope = {"type": "http", "method": "GET", "path": f"/walle/{place(large)}", "headers": []}
        await files(scope, receive, send)

    asyncio.run(leave_early())
    assert sum(sent) < len(large) // 2
