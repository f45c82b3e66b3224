"""Fetching: resumed, verified, by delta, given up in time."""

import hashlib
import os

import pytest
from install_power import Memory, QuickDisk
from walle_deploy.deltas.contract import Delta, codecs
from walle_deploy.errors import StoreError
from walle_deploy.install.fetch import Fetcher, Patience, Source
from walle_deploy.install.part import SYNC
from walle_deploy.manifest import File

DATA = os.urandom(3 * SYNC + 12_345)
OLD = DATA[:1000] + b"some bytes that were here" + DATA[1000:200_000]
NEW = DATA[:200_000]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def file_of(data):
    return File("model", digest(data), len(data))


class Faulty(Memory):
    """Ends, fails or lies as it is told, one way for each read; afterwards it reads well."""

    def __init__(self, *faults, **files):
        super().__init__()
        self.faults = list(faults)
        self.files = files

    def read(self, url, offset):
        fault = self.faults.pop(0) if self.faults else None
        left = fault if isinstance(fault, int) else None
        if isinstance(fault, Exception):
            self.asked.append((url, offset))
            raise fault
        if callable(fault):
            yield from fault(offset)
            return
        for chunk in super().read(url, offset):
            if left is not None and (left := left - len(chunk)) < 0:
                raise ConnectionResetError("the connection is gone")
            yield chunk


class Clock:
    def __init__(self):
        self.now, self.waits = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def fetcher(transport, folder, clock=None, **options):
    clock = clock or Clock()
    folder.mkdir(exist_ok=True)
    return Fetcher(transport, folder, disk=QuickDisk(), clock=clock, sleep=clock.sleep, **options)


def test_a_connection_that_breaks_is_resumed(tmp_path):
    web = Faulty(5_000_000, 100_000, 0, x=DATA)
    path = fetcher(web, tmp_path / "d").fetch(file_of(DATA), Source("x"))
    assert path.read_bytes() == DATA
    offsets = [offset for _, offset in web.asked]
    assert offsets == [0, 5_000_000, 5_100_000, 5_100_000]
    assert [path.name for path in (tmp_path / "d").iterdir()] == [digest(DATA)]


def test_another_process_goes_on(tmp_path):
    web = Faulty(SYNC * 2, ConnectionResetError(), ConnectionResetError(), x=DATA)
    with pytest.raises(StoreError, match="try later"):
        fetcher(web, tmp_path / "d", patience=Patience(tries=2)).fetch(file_of(DATA), Source("x"))
    with (tmp_path / "d" / f"{digest(DATA)}.part").open("ab") as file:
        file.write(b"\0" * 5000)  # what a power cut may leave behind what was synced
    web = Memory()
    web.files = {"x": DATA}
    again = fetcher(web, tmp_path / "d")
    assert again.fetch(file_of(DATA), Source("x")).read_bytes() == DATA
    assert web.asked[0][1] >= SYNC
    assert again.bytes < len(DATA)


def test_a_damaged_part_is_fetched_anew(tmp_path):
    web = Faulty(SYNC * 2, ConnectionResetError(), ConnectionResetError(), x=DATA)
    with pytest.raises(StoreError):
        fetcher(web, tmp_path / "d", patience=Patience(tries=2)).fetch(file_of(DATA), Source("x"))
    part = tmp_path / "d" / f"{digest(DATA)}.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])
    assert fetcher(web, tmp_path / "d").fetch(file_of(DATA), Source("x")).read_bytes() == DATA


@pytest.mark.parametrize("mark", [b"", b"-5", b"99999999999999999999999", b"x", b"\xb2"])
def test_a_damaged_mark(tmp_path, mark):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / f"{digest(NEW)}.part").write_bytes(NEW[:5000])
    (tmp_path / "d" / f"{digest(NEW)}.mark").write_bytes(mark)
    assert fetcher(Faulty(x=NEW), tmp_path / "d").fetch(file_of(NEW), Source("x")).read_bytes() == NEW


def endless(offset):
    while True:
        yield bytes(1 << 16)


def test_endless_data_is_refused_at_the_declared_size(tmp_path):
    web = Faulty(endless)
    made = fetcher(web, tmp_path / "d")
    with pytest.raises(StoreError, match="more than the declared"):
        made.fetch(file_of(NEW), Source("x"))
    assert made.bytes <= len(NEW) + (1 << 16)
    assert not list((tmp_path / "d").iterdir())


def test_wrong_content_is_refused(tmp_path):
    with pytest.raises(StoreError, match="its content is not"):
        fetcher(Faulty(x=NEW[:-1] + b"?"), tmp_path / "d").fetch(file_of(NEW), Source("x"))
    assert not list((tmp_path / "d").iterdir())


def test_what_is_short_is_tried_again_then_given_up(tmp_path):
    clock = Clock()
    with pytest.raises(StoreError, match=r"100 of 200000 bytes are here"):
        fetcher(Faulty(x=NEW[:100]), tmp_path / "d", clock).fetch(file_of(NEW), Source("x"))
    assert 2 < len(clock.waits) < 8


def test_waits_grow_and_the_deadline_holds(tmp_path):
    clock = Clock()
    patience = Patience(tries=1000, wait_s=1, longest_s=60, deadline_s=600)
    web = Faulty(*[ConnectionResetError("gone")] * 1000)
    with pytest.raises(StoreError, match="gone"):
        fetcher(web, tmp_path / "d", clock, patience=patience).fetch(file_of(NEW), Source("x"))
    assert clock.now <= 600
    assert max(clock.waits) > 10
    assert max(clock.waits) <= 60


def test_slow_retrieval_ends_at_the_deadline(tmp_path):
    clock = Clock()

    def slow(offset):
        for at in range(offset, len(NEW)):
            clock.now += 1
            yield NEW[at : at + 1]

    with pytest.raises(StoreError, match="deadline"):
        fetcher(Faulty(slow), tmp_path / "d", clock).fetch(file_of(NEW), Source("x"))
    assert clock.now < 1000


def test_what_no_try_cures_is_not_tried_again(tmp_path):
    clock = Clock()
    with pytest.raises(StoreError, match="404"):
        fetcher(Faulty(StoreError("404")), tmp_path / "d", clock).fetch(file_of(NEW), Source("x"))
    assert clock.waits == []


def by_delta(tmp_path, codec="bsdiff", base=OLD, spoil=lambda delta: delta, have=OLD, **files):
    delta = spoil(codecs().get("bsdiff").make(OLD, NEW))
    (tmp_path / "old").write_bytes(have)
    web = Faulty(delta=files.pop("delta", delta), x=NEW)
    source = Source("x", ((Delta(codec, digest(base), digest(delta), len(delta)), "delta"),))
    places = {digest(OLD): tmp_path / "old"}
    made = fetcher(web, tmp_path / "d", have=places.get)
    assert made.fetch(file_of(NEW), source).read_bytes() == NEW
    assert [path.name for path in (tmp_path / "d").iterdir()] == [digest(NEW)]
    return [url for url, _ in web.asked], made.bytes


def test_a_delta_comes_first(tmp_path):
    asked, size = by_delta(tmp_path)
    assert asked == ["delta"]
    assert size < 2000


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"codec": "unknown"}, id="unknown codec"),
        pytest.param({"codec": "full"}, id="full codec"),
        pytest.param({"codec": "zstd-patch"}, id="zstd codec"),
        pytest.param({"codec": "weights"}, id="codec of weights"),
        pytest.param({"base": b"never seen"}, id="unknown base"),
        pytest.param({"have": OLD[:-1]}, id="other base"),
        pytest.param({"have": b""}, id="empty base"),
        pytest.param({"spoil": lambda delta: delta[:-9]}, id="cut"),
        pytest.param({"spoil": lambda delta: b"noise" * 50}, id="noise"),
        pytest.param({"spoil": lambda delta: delta * 2000}, id="too long"),
        pytest.param({"spoil": lambda delta: b""}, id="nothing"),
        pytest.param({"delta": b"other than signed"}, id="another"),
        pytest.param({"delta": b"x" * 100_000}, id="a large one"),
    ],
)
def test_whatever_is_wrong_with_a_delta_the_file_is_fetched(tmp_path, wrong):
    asked, _ = by_delta(tmp_path, **wrong)
    assert asked[-1] == "x"


def test_what_is_here_is_not_fetched(tmp_path):
    (tmp_path / "here").write_bytes(NEW)
    web = Faulty()
    path = fetcher(web, tmp_path / "d", have=lambda sha256: tmp_path / "here").fetch(file_of(NEW), Source(""))
    assert (path, web.asked) == (tmp_path / "here", [])
    empty = fetcher(Faulty(x=b""), tmp_path / "d").fetch(file_of(b""), Source("x"))
    assert empty.read_bytes() == b""


def test_a_full_disk_is_not_taken_for_a_lost_connection(tmp_path):
    from install_power import FullDisk

    clock = Clock()
    (tmp_path / "d").mkdir()
    made = Fetcher(Faulty(x=DATA), tmp_path / "d", disk=FullDisk(3), clock=clock, sleep=clock.sleep)
    with pytest.raises(StoreError, match="No space"):
        made.fetch(file_of(DATA), Source("x"))
    assert clock.waits == []
