"""What goes into the headers comes out again; nothing else comes out."""

import string
import zlib

import pytest
from hook_world import PROFILE
from hypothesis import given
from hypothesis import strategies as st
from walle_deploy.errors import HookError
from walle_deploy.hooks import headers as wire
from walle_deploy.hooks import packing
from walle_deploy.hooks.packing import pack
from walle_deploy.profile import Profile

WORDS = "feed ocr scan voice translate spam face pose pay photo search churn ipv doodle keyboard battery crash size live shop"
TWENTY = {f"{name}-rank": f"v{3 * number + 1}" for number, name in enumerate(WORDS.split())}
DEVICE = {
    "os": "android",
    "os_version": "14",
    "app_version": "10.32.1",
    "memory_mb": 6144,
    "backends": ["avx"],
    "speed.avx": 41.5,
}

values = st.one_of(
    st.text(max_size=20),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.text(max_size=8), max_size=4),
)
attributes = st.dictionaries(st.text(min_size=1, max_size=12), values, max_size=6)
names = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=20)
versions = st.one_of(st.integers(0, 10**18 - 1).map("v{}".format), st.text(max_size=6))
profiles = st.builds(
    Profile,
    st.text(min_size=1, max_size=30),
    attributes,
    attributes,
    st.one_of(
        st.dictionaries(names, versions, max_size=30),
        st.dictionaries(st.text(max_size=9), versions, max_size=5),
    ),
)


@given(profiles)
def test_profile_comes_back(profile):
    value = wire.write_profile(profile)
    assert value.isascii()
    assert set(value) <= set(string.ascii_letters + string.digits + "-_.")
    if len(value) <= wire.MAX_VALUE:
        assert wire.read_profile(value) == profile.canonical


@given(st.binary(max_size=3200))
def test_answer_comes_back_or_is_to_be_pulled(answer):
    value = wire.write_answer(answer)
    if value == wire.PULL:
        assert len(answer) * 4 / 3 > wire.MAX_VALUE
    elif answer:
        assert wire.read_answer(value) == answer


@given(st.binary(min_size=8, max_size=8))
def test_digest_comes_back(digest):
    assert wire.read_digest(wire.write_digest(digest)) == digest


def test_digest_is_the_profiles():
    assert wire.read_digest(PROFILE.header()) == PROFILE.digest


@given(st.one_of(st.text(max_size=60), st.text("A?!.=-_\r\n\0\xff", max_size=20)))
def test_other_values_are_refused_or_harmless(value):
    for read in (wire.read_digest, wire.read_profile, wire.read_answer, wire.read_token):
        try:
            made = read(value)
        except HookError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 300
        else:
            assert isinstance(made, (bytes, str))


@given(st.binary(max_size=300))
def test_packed_garbage_is_refused_or_a_profile(data):
    value = "1." + wire.write_answer(data)
    try:
        made = wire.read_profile(value)
    except HookError:
        return
    assert Profile.read(made).canonical == made


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"", lambda d: d[:5] + b"\xff" + d[6:]]
)
def test_damaged_packing_is_refused(change):
    with pytest.raises(HookError):
        packing.unpack(change(pack(PROFILE)))


def test_bomb_is_refused():
    packer = zlib.compressobj(9, wbits=-15)
    data = packer.compress(bytes(2_500_000)) + packer.flush()
    assert len(data) < 3000
    with pytest.raises(HookError, match="65536"):
        packing.unpack(data)


def test_profile_of_twenty_tasks_fits():
    """The goal of the issue: at most 300 bytes on a business request."""
    profile = Profile("8f14e45fceea167a", DEVICE, {"country": "DE"}, TWENTY)
    line = f"{wire.DEVICE}: {wire.write_profile(profile)}\r\n"
    assert len(TWENTY) == 20
    assert len(line) <= 300
    assert len(profile.canonical) > 300


def test_names_that_no_server_gives_go_unpacked():
    for installed in ({"Ü": "v1"}, {"a\nb": "v1"}, {"a": "1.2"}, {"a": "v01"}, {"a": "v" + "9" * 19}):
        profile = Profile("d", installed=installed)
        assert pack(profile) is None
        assert wire.read_profile(wire.write_profile(profile)) == profile.canonical
