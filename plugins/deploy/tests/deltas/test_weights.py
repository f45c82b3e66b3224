"""The codec of weights: any bits survive, and each kind of change costs what it may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.deltas.choose import smallest
from walle_deploy.deltas.contract import codecs
from walle_deploy.deltas.regions import find_regions
from walle_deploy.deltas.steps import find_steps, taken, which
from walle_deploy.deltas.words import pack, unpack

random = np.random.default_rng(11)
N = 1 << 17
WEIGHTS = random.standard_normal(N).astype("f4")
FULL = len(codecs().get("full").make(b"", WEIGHTS.tobytes()))
SPECIAL = np.array(
    [0, 0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F7FFFFF, 0xFF7FFFFF,
     0x00800000, 0x007FFFFF, 0xFFFFFFFF, 0x3F800000], np.uint32,
)  # fmt: skip


def share(old, new):
    codec = codecs().get("weights")
    delta = codec.make(old.tobytes(), new.tobytes())
    assert codec.apply(old.tobytes(), delta, new.nbytes) == new.tobytes()
    return len(delta) / FULL


@given(
    st.sampled_from(["u1", "u2", "u4"]),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_any_numbers_survive(kind, seed, part, data):
    chance = np.random.default_rng(seed)
    count = data.draw(st.integers(0, 600))
    bits = 8 * np.dtype(kind).itemsize
    old = chance.integers(0, 1 << bits, count, np.uint64).astype(kind)
    new = chance.integers(0, 1 << data.draw(st.integers(1, bits)), count, np.uint64).astype(kind)
    new = np.where(chance.random(count) < part, old ^ new, old)
    assert np.array_equal(unpack(old, pack(old, new)), new)


def test_every_pair_of_special_numbers():
    old, new = (each.ravel() for each in np.meshgrid(SPECIAL, SPECIAL))
    old, new = np.tile(old, 9), np.tile(new, 9)
    assert np.array_equal(unpack(old, pack(old, new)), new)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda w, c: w * (1 + 0.001 * c.standard_normal(N)), 0.54),
        (lambda w, c: w * (1 + 0.01 * c.standard_normal(N)), 0.65),
        (lambda w, c: w + 0.001 * c.standard_normal(N), 0.60),
        (lambda w, c: np.where(c.random(N) < 0.01, w + np.float32(0.01), w), 0.004),
        (lambda w, c: np.where(c.random(N) < 0.01, w + 0.01 * c.standard_normal(N), w), 0.0115),
        (lambda w, c: w * np.float32(0.9999), 0.001),
        (lambda w, c: w + np.float32(0.001) * c.choice([-1, 1], N).astype("f4"), 0.05),
    ],
    ids=["0.1 %", "1 %", "noise", "1 % sparse", "1 % sparse noise", "decay", "signs"],
)
def test_what_changes_cost(change, most):
    assert share(WEIGHTS, change(WEIGHTS, np.random.default_rng(5)).astype("f4")) <= most


def test_halves_and_bytes():
    half = WEIGHTS.astype("f2")
    assert share(half, (half * (1 + 0.001 * random.standard_normal(N))).astype("f2")) < 0.11
    small = (WEIGHTS * 30).clip(-127, 127).astype("i1")
    moved = small.copy()
    moved[random.choice(N, N // 100, replace=False)] += 1
    assert share(small, moved) < 0.004


def test_numbers_are_found_where_they_lie():
    """fp32, fp16 and bytes in one file, each at any offset."""

    def content(nudge):
        chance = np.random.default_rng(3)
        wide = WEIGHTS[:20_000] * (1 + nudge * chance.standard_normal(20_000))
        half = WEIGHTS[:40_000] * (1 + nudge * chance.standard_normal(40_000))
        return (
            b"a header." + wide.astype("f4").tobytes() + b"xyz" + half.astype("f2").tobytes() + b"text" * 2000
        )

    old, new = (np.frombuffer(content(nudge), np.uint8) for nudge in (0, 1e-3))
    sizes = {width: sum(size for size, each in find_regions(old, new) if each == width) for width in (4, 2)}
    assert 77_000 < sizes[4] < 83_000
    assert 77_000 < sizes[2] < 91_000  # text that stayed costs nothing as any kind


def test_steps_that_many_numbers_took_are_found():
    old = WEIGHTS[:5000]
    new = old.copy()
    new[:2000] += np.float32(0.01)
    new[2000:3000] *= np.float32(0.5)
    found = find_steps(old, new)
    assert {factor for factor, _ in found} == {False, True}
    marks = which(old, new, found)
    assert (marks > 0).sum() >= 2990 and not marks[3000:].any()
    for number, step in enumerate(found, 1):
        assert np.array_equal(taken(old[marks == number], step), new[marks == number])


def test_noise_has_no_steps():
    assert find_steps(WEIGHTS, (WEIGHTS * (1 + 0.01 * random.standard_normal(N))).astype("f4")) == []


def test_a_delta_that_is_slow_to_apply_is_left_out():
    old = WEIGHTS.tobytes()
    new = (WEIGHTS * np.float32(0.999)).tobytes()
    assert smallest(old, new).apply_s > 0
    assert smallest(old, new, apply_s=0.0) is None
