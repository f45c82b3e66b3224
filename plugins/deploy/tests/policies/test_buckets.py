"""Buckets: published vectors, monotone shares, even shares."""

import re

import mmh3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walle_deploy import buckets
from walle_deploy.buckets import MILLION, STEPS, bucket, in_share, threshold

VECTORS = [
    ("", "", 0x514E28B7),
    ("", "device-1", 0x023D578C),
    ("v2", "device-1", 0xC8CC2A7F),
    ("v2", "device-2", 0x6FF0D9CF),
    ("release-7", "6f1e2c34-9a8b-4c5d-8e7f-001122334455", 0x38D36EAD),
    ("été", "手机-1", 0x207DC5F0),
    ("v2", "📱", 0x9301262D),
]


def murmur3(data):
    """MurmurHash3 x86 32, from its definition."""
    h, mask = 0, 0xFFFFFFFF

    def mixed(k):
        k = k * 0xCC9E2D51 & mask
        return (k << 15 | k >> 17) * 0x1B873593 & mask

    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        h ^= mixed(int.from_bytes(data[at : at + 4], "little"))
        h = ((h << 13 | h >> 19) & mask) * 5 + 0xE6546B64 & mask
    if data[whole:]:
        h ^= mixed(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16


@pytest.mark.parametrize(("salt", "device", "wanted"), VECTORS)
def test_vectors(salt, device, wanted):
    assert bucket(salt, device) == wanted == murmur3(f"{salt}\0{device}".encode())


def test_documented_vectors():
    found = re.findall(r'"(.*?)" +"(.*?)" +0x([0-9A-F]{8})', buckets.__doc__)
    assert [(salt, device, int(value, 16)) for salt, device, value in found] == VECTORS


@given(st.text(), st.text())
def test_is_the_definition(salt, device):
    data = f"{salt}\0{device}".encode("utf-8", "replace")
    assert mmh3.hash(data, 0, signed=False) == murmur3(data)


@given(
    st.text(st.characters(codec="utf-8")),
    st.text(st.characters(codec="utf-8")),
    st.integers(0, MILLION),
    st.integers(0, MILLION),
)
def test_raising_never_removes(salt, device, one, two):
    small, large = sorted((one, two))
    assert in_share(salt, device, large) or not in_share(salt, device, small)
    assert in_share(salt, device, MILLION)
    assert not in_share(salt, device, 0)


def test_a_million_devices():
    found = np.array([bucket("v2", f"device-{number}") for number in range(1_000_000)], np.int64)
    before = np.zeros(len(found), bool)
    for ppm in (0, 1, 10, 1000, 10_000, 50_000, 333_333, 500_000, 999_999, MILLION):
        now = found < threshold(ppm)
        assert not (before & ~now).any(), "raising the share removed a device"
        added = now & ~before
        if before.any() and added.any():
            assert found[before].max() < found[added].min(), "lowering it again removes those that came last"
        deviation = (ppm * (MILLION - ppm) / MILLION) ** 0.5
        assert abs(int(now.sum()) - ppm) <= 5 * deviation + 1
        before = now
    assert before.all()


def test_thresholds_are_whole_numbers():
    assert [threshold(ppm) for ppm in (0, 1, 500_000, MILLION)] == [0, 4294, STEPS // 2, STEPS]
    every = [threshold(ppm) for ppm in range(0, MILLION + 1, 7)]
    assert sorted(set(every)) == every, "each step of 0.0001 % differs"


def test_salts_are_independent():
    both = sum(in_share("a", f"d{n}", 100_000) and in_share("b", f"d{n}", 100_000) for n in range(100_000))
    assert 850 < both < 1150
