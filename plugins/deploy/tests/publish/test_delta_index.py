"""The list of deltas that lead to a file."""

import hashlib

import pytest
from walle_deploy.deltas.contract import Delta
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.store.deltas_index import MAX_DELTAS, DeltaIndex, decode, encode
from walle_deploy.store.files import FileStore


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(params=["memory", "folder"])
def index(request, tmp_path):
    return DeltaIndex(FileStore.open("memory://" if request.param == "memory" else tmp_path))


def delta(index, content, base=b"old", codec="bsdiff"):
    stored = index.store.put(content)
    return Delta(codec, digest(base) if base else "", stored.sha256, stored.size)


NEW = digest(b"new")


def test_nothing_is_listed_at_first(index):
    assert index.read(NEW) is None and index.get(NEW) == ()


def test_the_smallest_of_each_base_stays(index):
    large, small = delta(index, b"12345"), delta(index, b"123")
    other = delta(index, b"1234567", b"older")
    whole = delta(index, b"123456789", b"", "full")
    index.put(NEW, [large])
    index.put(NEW, [other, small, whole])
    assert index.get(NEW) == (small, other, whole)
    index.put(NEW, [large])
    assert decode(index.read(NEW)) == (small, other, whole)


def test_a_delta_that_is_not_there_is_refused(index):
    with pytest.raises(StoreError, match="put it first"):
        index.put(NEW, [Delta("bsdiff", digest(b"old"), digest(b"?"), 3)])
    there = delta(index, b"12345")
    with pytest.raises(StoreError, match="put it first"):
        index.put(NEW, [Delta(there.codec, there.base, there.sha256, 4)])


def test_it_is_bounded(index):
    for n in range(MAX_DELTAS + 3):
        index.put(NEW, [delta(index, b"x" * n, b"%d" % n)])
    assert len(index.get(NEW)) == MAX_DELTAS
    assert digest(b"%d" % (MAX_DELTAS + 2)) in {each.base for each in index.get(NEW)}
    with pytest.raises(StoreError, match="at most"):
        decode(encode([index.get(NEW)[0]] * (MAX_DELTAS + 1)))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'[{"codec":"x"}]', b"\xff", b"[" * 10_000, b"[" + b" " * 20_000 + b"]",
     b'[{"codec":"x","base":"../..","sha256":"' + b"0" * 64 + b'","size":1}]'],
)  # fmt: skip
def test_a_damaged_list_is_refused_and_written_anew(index, data):
    import obstore

    obstore.put(index.store.objects, index.key(NEW), data)
    with pytest.raises(StoreError):
        index.get(NEW)
    made = delta(index, b"12345")
    assert index.put(NEW, [made]) == (made,)


def test_names_are_digests(index):
    with pytest.raises(DeployError, match="SHA-256"):
        index.read("../secret")


def test_deltas_of_what_is_gone_are_dropped(index):
    mine, other, whole = (
        delta(index, b"123"),
        delta(index, b"1234", b"older"),
        delta(index, b"12345", b"", "full"),
    )
    index.put(NEW, [mine, other, whole])
    assert index.keep(NEW, {mine.base}) == (mine, whole)
    assert index.get(NEW) == (mine, whole)


def test_a_collection_keeps_the_deltas_between_files_that_stay(tmp_path):
    import datetime

    from walle_deploy.manifest import File, Manifest
    from walle_deploy.store.collect import collect

    index = DeltaIndex(FileStore.open(tmp_path))
    store = index.store
    old, new, gone = (store.put(content) for content in (b"old", b"new", b"gone"))
    kept = [delta(index, b"from old", b"old"), delta(index, b"from nothing", b"", "full")]
    dropped, lost = delta(index, b"from gone", b"gone"), delta(index, b"to gone", b"old")
    index.put(new.sha256, [*kept, dropped])
    index.put(gone.sha256, [lost])
    manifest = Manifest.of("ipv", "v2", [File("a", old.sha256, old.size), File("b", new.sha256, new.size)])
    assert collect(store, [(manifest, "")]).removed == 0
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    assert collect(store, iter([(manifest, "")]), now=later).removed == 3
    assert set(index.get(new.sha256)) == set(kept) and index.read(gone.sha256) is None
    assert all(store.has(each.sha256) for each in kept)
    assert not any(store.has(each.sha256) for each in (dropped, lost, gone))
