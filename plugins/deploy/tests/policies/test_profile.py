"""Profiles: canonical bytes, digests, the header, what is refused."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import profiles
from walle_deploy.errors import PolicyError
from walle_deploy.policies.versions import version
from walle_deploy.profile import HEADER, Profile


def test_twenty_tasks_take_300_bytes():
    profile = Profile(
        "6f1e2c34-9a8b-4c5d-8e7f-001122334455",
        {"os": "android", "os_version": "14", "app_version": "10.4.1", "memory_mb": 8192, "speed.neon": 41.5},
        {"country": "de"},
        {f"t{number:02}": f"{number}" for number in range(20)},
    )
    assert len(profile.canonical) <= 300
    assert Profile.read(profile.canonical) == profile


@given(profiles)
def test_header_line_fits_64_bytes(profile):
    assert len(f"{HEADER}: {profile.header()}\r\n".encode()) <= 64
    assert len(profile.digest) == 8


@given(profiles)
def test_order_does_not_matter(profile):
    turned = Profile(
        profile.id,
        dict(reversed(profile.device.items())),
        dict(reversed(profile.user.items())),
        profile.installed,
    )
    assert turned.canonical == profile.canonical
    assert turned.digest == profile.digest
    read = Profile.read(profile.canonical)
    assert read == profile
    assert read.digest == profile.digest


def test_every_part_changes_the_digest(profile):
    others = [
        Profile("device-2", profile.device, profile.user, profile.installed),
        Profile(profile.id, profile.device | {"os": "ios"}, profile.user, profile.installed),
        Profile(profile.id, profile.device, {}, profile.installed),
        Profile(profile.id, profile.device, profile.user, {"ocr": "4"}),
        Profile(profile.id, profile.user, profile.device, profile.installed),
    ]
    assert len({one.digest for one in [profile, *others]}) == 6


def test_digest_is_published():
    assert Profile("device-1", {"os": "android"}).header() == "aFauqM7FOAs"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Profile(""),
        lambda: Profile("x" * 129),
        lambda: Profile("手" * 43),
        lambda: Profile("\ud800"),
        lambda: Profile(7),
        lambda: Profile("d", {"a": math.nan}),
        lambda: Profile("d", {"a": math.inf}),
        lambda: Profile("d", {"a": 2**63}),
        lambda: Profile("d", {"a": "x" * 1025}),
        lambda: Profile("d", {"a": "\udfff"}),
        lambda: Profile("d", {"a": ["x", 1]}),
        lambda: Profile("d", {"a": ["x"] * 257}),
        lambda: Profile("d", {"a": None}),
        lambda: Profile("d", {"a": {"b": 1}}),
        lambda: Profile("d", {"": 1}),
        lambda: Profile("d", {1: 1}),
        lambda: Profile("d", {str(n): n for n in range(257)}),
        lambda: Profile("d", [1]),
        lambda: Profile("d", {}, {"u": b"x"}),
        lambda: Profile("d", {}, {}, {"t": 3}),
        lambda: Profile("d", {}, {}, {str(n): "1" for n in range(1025)}),
    ],
)
def test_refuses(make):
    with pytest.raises(PolicyError, match="profile: "):
        make()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x90", b"\x91\x01", b"\x91" * 100_000, b"\x91\xa1\xff", msgspec.msgpack.encode(["d", {"a": math.nan}]),
        msgspec.msgpack.encode(["d", {"a": 2**64 - 1}]), msgspec.msgpack.encode(["d", {"a": [1]}]), msgspec.msgpack.encode(["d"] + [{}] * 4),
        msgspec.msgpack.encode(["d"]) + b"x", msgspec.msgpack.encode({"id": "d"}),
    ],
)  # fmt: skip
def test_bytes_that_are_no_profile(data):
    with pytest.raises(PolicyError):
        Profile.read(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40) | st.binary(max_size=9)
    | st.sampled_from(["x" * 1024, "x" * 1025, "手" * 342, ["a"] * 256, ["a"] * 257, [""] * 257, 2**63 - 1, 2**63, math.inf]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=4,
)  # fmt: skip
TABLES = st.dictionaries(st.text(max_size=6) | st.just(7), VALUES, max_size=6)
IDS = st.text(max_size=6) | st.sampled_from(["x" * 128, "x" * 129, "手" * 42, "手" * 43, 7])


@settings(max_examples=500)
@given(
    st.tuples(
        IDS, TABLES, TABLES, st.dictionaries(st.text(max_size=6), st.text(max_size=9) | st.none(), max_size=4)
    )
)
def test_short_profiles_are_checked_as_long_ones(parts):
    """Those that are read quickly are those that can be made, and they are the same."""
    data = msgspec.msgpack.encode(parts)
    try:
        made = Profile(*parts)
    except PolicyError as error:
        with pytest.raises(PolicyError) as found:
            Profile.read(data)
        assert str(found.value) == str(error) or "cannot be read" in str(found.value)
    else:
        read = Profile.read(data)
        assert type(read) is Profile
        assert read == made
        assert (read.canonical, read.digest) == (made.canonical, made.digest)


@pytest.mark.parametrize("attributes", [255, 256, 257])
def test_many_small_attributes_are_counted(attributes):
    table = {chr(0x20 + number % 90) + str(number // 90): True for number in range(attributes)}
    data = msgspec.msgpack.encode(["d", table])
    if attributes > 256:
        with pytest.raises(PolicyError, match="at most 256"):
            Profile.read(data)
    else:
        assert Profile.read(data).device == table


def test_profiles_share_nothing():
    first, second = Profile.read(b"\x91\xa1a"), Profile.read(b"\x91\xa1b")
    assert first.canonical != second.canonical
    assert (first.device, first.user, first.installed) == ({}, {}, {})
    assert first.device is not second.device


def test_versions_compare():
    rising = [
        "0",
        "1.2",
        "1.10-alpha",
        "1.10-alpha.2",
        "1.10-alpha.10",
        "1.10-beta",
        "1.10",
        "1.10.1",
        "v2",
        "12.9",
        "12.10",
    ]
    keys = [version(text) for text in rising]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert version("12") == version("12.0") == version("v12.0.0+build.7")
    for text in ("", "x", "1..2", "1." + "9" * 19, ".1", "1 2", "１", "1.2\n", "9" * 5000, "1" + ".1" * 20):
        assert version(text) is None
