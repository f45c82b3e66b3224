"""Codecs: what they make, and what they refuse."""

import bz2
import hashlib
import importlib
import struct
import sys
import time
import tracemalloc

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.deltas.choose import made_again, smallest
from walle_deploy.deltas.contract import MAX_DELTA_FILE, Codec, Delta, applied, codecs
from walle_deploy.errors import DeployError, StoreError

NAMES = ["full", "weights", "zstd-patch", "bsdiff"]
random = np.random.default_rng(7)
OLD = random.standard_normal(1 << 14).astype("f4")
SCRIPT = b"".join(b"def feature_%d(events):\n    return len(events) + %d\n" % (n, n * n) for n in range(900))


def nudged(weights, by=1e-3):
    return (weights * (1 + by * random.standard_normal(weights.shape))).astype(weights.dtype)


def sparse(weights, share=0.01):
    made = weights.copy()
    made[random.choice(len(made), int(len(made) * share), replace=False)] += 0.01
    return made


@pytest.fixture(params=NAMES)
def codec(request):
    return codecs().get(request.param)


PAIRS = {
    "equal": (OLD.tobytes(), OLD.tobytes()),
    "nudged": (OLD.tobytes(), nudged(OLD).tobytes()),
    "fp16": (OLD.astype("f2").tobytes(), nudged(OLD).astype("f2").tobytes()),
    "sparse": (OLD.tobytes(), sparse(OLD).tobytes()),
    "decayed": (OLD.tobytes(), sparse(OLD * np.float32(0.999)).tobytes()),
    "quantised": ((OLD * 30).astype("i1").tobytes(), (nudged(OLD, 0.02) * 30).astype("i1").tobytes()),
    "longer": (OLD.tobytes(), b"head" + nudged(OLD).tobytes() + b"tail"),
    "shorter": (OLD.tobytes(), nudged(OLD).tobytes()[:-1001]),
    "script": (SCRIPT, SCRIPT.replace(b"feature_400", b"characteristic_400")),
    "empty old": (b"", b"abc" * 40),
    "empty new": (b"abc", b""),
    "both empty": (b"", b""),
    "one byte": (b"a", b"b"),
    "unlike": (SCRIPT, OLD.tobytes()),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_delta_gives_the_new_file(codec, pair):
    old, new = PAIRS[pair]
    delta = codec.make(old, new)
    if delta is None:
        assert codec.name != "full"
        return
    assert applied(codec, old, delta, len(new), hashlib.sha256(new).hexdigest()) == new


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_any_bytes(a, b, cut):
    for old, new in ((a, b), (a, a[:cut] + b + a[cut:]), (a * 9, a * 5 + b)):
        for codec in codecs().values():
            delta = codec.make(old, new)
            assert delta is None or codec.apply(old, delta, len(new)) == new


def test_floats_are_found_behind_headers_that_moved():
    codec = codecs().get("weights")
    new = nudged(OLD).tobytes()
    plain = len(codec.make(OLD.tobytes(), new))
    text = bytes(random.integers(32, 127, 3000, dtype=np.uint8))
    third = len(new) // 3
    old = OLD.tobytes()
    old = text + old[:third] + text[:1000] + old[third:] + text
    new = (
        text[:50] + b"version 2" + text[50:] + new[:third] + b"more" + text[:1000] + new[third:] + b"." + text
    )
    delta = codec.make(old, new)
    assert codec.apply(old, delta, len(new)) == new
    assert len(delta) < plain * 1.05 + 500


def test_floats_are_found_without_any_piece_that_stayed():
    codec = codecs().get("weights")
    new = nudged(OLD).tobytes()
    plain = len(codec.make(OLD.tobytes(), new))
    inserted = b"1234567" + new[:30_000] + b"12345" + new[30_000:]
    assert len(codec.make(OLD.tobytes(), inserted)) < plain * 1.1


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["nudged", "script", "longer", "sparse", "decayed", "quantised"]),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_damaged_deltas_are_refused_or_give_the_declared_size(name, pair, data):
    codec = codecs().get(name)
    old, new = PAIRS[pair]
    delta = bytearray(DELTAS.setdefault((name, pair), codec.make(old, new) or b""))
    if not delta:
        return
    for _ in range(data.draw(st.integers(1, 4))):
        delta[data.draw(st.integers(0, min(len(delta) - 1, 4000)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(delta)))
    for damaged in (bytes(delta), bytes(delta[:cut]), bytes(delta) + b"x"):
        try:
            made = codec.apply(old, damaged, len(new))
        except StoreError:
            continue
        assert len(made) == len(new)


DELTAS: dict[tuple[str, str], bytes] = {}


@given(st.sampled_from(NAMES), st.binary(max_size=300), st.integers(0, 1000))
@settings(deadline=None)
def test_noise_is_refused(name, noise, size):
    try:
        made = codecs().get(name).apply(b"old file" * 50, noise, size)
    except StoreError:
        return
    assert len(made) == size


@given(
    st.lists(
        st.tuples(*[st.integers(-50, 50) | st.sampled_from([1 << 62, -(1 << 62), 1 << 40])] * 3), max_size=6
    ),
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.integers(0, 120),
)
@settings(max_examples=400, deadline=None)
def test_bsdiff_instructions_cannot_leave_the_files(control, difference, extra, size):
    numbers = [n if n >= 0 else (-n | 1 << 63) for row in control for n in row]
    delta = patch(struct.pack(f"<{len(numbers)}Q", *numbers), difference, extra, size)
    try:
        made = codecs().get("bsdiff").apply(b"0123456789" * 4, delta, size)
    except StoreError:
        return
    assert len(made) == size


def patch(control, difference, extra, size):
    parts = [bz2.compress(part) for part in (control, difference, extra)]
    return b"BSDIFF40" + struct.pack("<3Q", len(parts[0]), len(parts[1]), size) + b"".join(parts)


def bombs():
    zeros = bytes(64 << 20)
    step = struct.pack("<3Q", 0, 1000, 0)
    yield "full", zstandard.compress(zeros)
    yield "zstd-patch", zstandard.compress(zeros)
    yield "full", zstandard.ZstdCompressor(write_content_size=False).compress(zeros)
    yield "bsdiff", patch(step, b"", zeros, 1000)
    yield "bsdiff", patch(step, zeros, bytes(1000), 1000)
    yield "bsdiff", patch(zeros[: 24 << 20], b"", bytes(1000), 1000)
    yield "bsdiff", patch(step, b"", bytes(1000), 1 << 40)
    yield from weight_bombs(zstandard.compress(zeros))


def weight_bombs(bomb):
    """Bodies of the codec weights that say too much."""
    empty, whole = [[]] * 3, [[1000, 0]]
    nothing = [-1, [b"", b""], [], b"", b"", [b"", b""], [b"", b""]]
    bodies = [
        [whole, [[1000, 4]], [[[-1, [b"", b""], [], b"", bomb, [bomb, bomb], [bomb, bomb]]], [], []]],
        [whole, [[1000, 4]], [[[5, [bomb, bomb], [], b"", b"", [b"", b""], [b"", b""]]], [], []]],
        [whole, [[1000, 4]], [[[1 << 60, [b"", b""], [], b"", b"", [b"", b""], [b"", b""]]], [], []]],
        [
            whole,
            [[1000, 4]],
            [[[-1, [b"", b""], [[True, 2.0]] * 20, bomb, b"", [b"", b""], [b"", b""]]], [], []],
        ],
        [whole, [[1000, 4]], [[nothing] * 9, [], []]],
        [whole, [[1000, 4]], empty],
        [whole, [[1000, 3]], empty],
        [whole, [[999, 4], [1, 1]], empty],
        [[[1 << 62, 0], [1, 1 << 62]], [[1000, 1]], empty],
        [[[1 << 62, 0], [1000 - (1 << 62), 0]], [[1000, 1]], empty],
        [whole, [[1 << 62, 4], [1000, 1]], empty],
        [[[0, 0]] * 70_000, [[1000, 1]], empty],
        [whole, [[0, 1]] * 70_000, empty],
    ]
    for body in bodies:
        yield "weights", msgspec.msgpack.encode(body)
    yield "weights", b"\xdd\xff\xff\xff\xff"


@pytest.mark.parametrize("bomb", list(bombs()), ids=lambda bomb: bomb[0])
def test_bombs_take_no_memory(bomb):
    name, delta = bomb
    codec = codecs().get(name)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError):
            codec.apply(b"old" * 300, delta, 1000)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


BROKEN = '''"""Codecs of a plugin."""

import os
import time


class Broken:
    """Fails in the way it is told."""

    name = "broken"

    how = "HOW"

    def make(self, old, new):
        if self.how == "slow":
            time.sleep(60)
        if self.how == "raise":
            raise ZeroDivisionError
        if self.how == "die":
            os._exit(9)
        return b"" if self.how != "none" else None

    def apply(self, old, delta, size):
        if self.how == "raise":
            raise ZeroDivisionError
        return bytes(size)
'''


@pytest.fixture
def broken(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def made(how):
        (tmp_path / f"broken_{how}.py").write_text(BROKEN.replace("HOW", how))
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, f"broken_{how}", raising=False)
        return importlib.import_module(f"broken_{how}").Broken()

    return made


@pytest.mark.parametrize("how", ["slow", "raise", "die", "wrong", "none"])
def test_a_codec_that_fails_or_is_late_is_left_out(how, broken):
    registry = codecs()
    registry.add(broken(how))
    start = time.monotonic()
    made = smallest(OLD.tobytes(), nudged(OLD).tobytes(), registry=registry, budget_s=5)
    assert made is not None
    assert made.codec == "weights"
    assert time.monotonic() - start < 20
    assert how != "slow" or time.monotonic() - start > 5  # it was waited for


def test_what_a_device_does_not_support_is_not_made():
    new = sparse(OLD).tobytes()
    assert smallest(OLD.tobytes(), new, ["full", "zstd-patch", "unknown"]).codec == "zstd-patch"
    assert smallest(OLD.tobytes(), new, []) is None
    assert smallest(None, SCRIPT).codec == "full"
    assert smallest(SCRIPT, SCRIPT[:-1], budget_s=0) is None
    assert smallest(b"", bytes(random.integers(0, 256, 999, dtype=np.uint8))) is None


def test_small_files_need_no_process():
    start = time.monotonic()
    for _ in range(20):
        smallest(SCRIPT[:9000], SCRIPT[:4000] + b"#" + SCRIPT[4000:9000])
    assert time.monotonic() - start < 5


def test_the_result_is_checked_not_the_delta(broken):
    new = nudged(OLD).tobytes()
    digest = hashlib.sha256(new).hexdigest()
    codec = codecs().get("weights")
    delta = codec.make(OLD.tobytes(), new)
    with pytest.raises(StoreError, match="did not make"):
        applied(codec, nudged(OLD).tobytes(), delta, len(new), digest)
    with pytest.raises(StoreError, match="ZeroDivision"):
        applied(broken("raise"), b"", b"", 1, digest)
    with pytest.raises(StoreError, match="fetch the file"):
        applied(codec, b"", b"", MAX_DELTA_FILE + 1, digest)


def test_figures():
    """The goals of 4 MiB of weights, on a quarter of it; benchmarks/deploy_deltas.py has all."""
    old = random.standard_normal(1 << 18).astype("f4")
    full = len(codecs().get("full").make(b"", old.tobytes()))
    assert len(smallest(old.tobytes(), sparse(old).tobytes()).data) <= 0.01 * full
    assert len(smallest(old.tobytes(), nudged(old).tobytes()).data) <= 0.65 * full
    edited = SCRIPT.replace(b"events) + 160000", b"events) + 160001")
    full = len(codecs().get("full").make(b"", SCRIPT))
    assert len(smallest(SCRIPT, edited).data) <= 0.01 * full


def test_contract():
    assert list(codecs()) == NAMES
    for codec in codecs().values():
        assert isinstance(codec, Codec)
        assert made_again(type(codec).__module__, type(codec).__qualname__, codec.name).name == codec.name
    with pytest.raises(StoreError):
        Delta("full", "", "a" * 64, -1)
    with pytest.raises(DeployError):
        Delta("full", "x", "a" * 64, 1)
