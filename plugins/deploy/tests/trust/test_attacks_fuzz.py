"""Malformed metadata: whatever is changed in any file, on the way or on the device's disk, nothing else is trusted."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trust_world import Device, Fleet
from walle_deploy.errors import TrustError

FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = ["2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json", "2.shop-team.json"]


@pytest.fixture(scope="module")
def published():
    """A fleet with one release, and the paths of what a fresh device fetches for it."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        fleet.repository.renew("root")
        task = fleet.release("shop/rank", 1)
        yield fleet, task


def looked_up(fleet, name):
    """What a fresh device trusts."""
    device = Device(fleet, name)
    try:
        return device.images.image("shop/rank", 1)
    finally:
        device.state.close()
        shutil.rmtree(device.folder)
        fleet.mirror.replaced.clear()


def only_that_or_refused(fleet, task):
    try:
        image = looked_up(fleet, "fuzzed")
    except TrustError:
        return
    assert image is not None
    assert (image.manifest, image.size, image.revoked) == (task.manifest, task.size, "")


def test_the_files_are_what_a_device_fetches(published):
    fleet, _ = published
    fleet.mirror.asked.clear()
    looked_up(fleet, "fresh")
    assert set(fleet.mirror.asked) == {*(f"metadata/{path}" for path in FILES), "metadata/3.root.json"}


@pytest.mark.parametrize("path", FILES)
def test_a_flipped_bit_in_a_file_on_the_way(published, path):
    fleet, task = published
    good = (fleet.folder / "images/metadata" / path).read_bytes()

    @FUZZ
    @given(st.integers(0, len(good) * 8 - 1))
    def flip(at):
        bad = bytearray(good)
        bad[at // 8] ^= 1 << at % 8
        fleet.mirror.replaced[f"metadata/{path}"] = bytes(bad)
        if path in {"timestamp.json", "2.root.json"}:  # signatures in hex have two spellings; no content has
            only_that_or_refused(fleet, task)
        else:
            with pytest.raises(TrustError):
                looked_up(fleet, "fuzzed")

    flip()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("path", FILES)
def test_any_json_in_place_of_any_field(published, path):
    fleet, task = published
    good = json.loads((fleet.folder / "images/metadata" / path).read_bytes())

    @FUZZ
    @given(st.sampled_from(sorted(good["signed"])), values)
    def replace(field, value):
        bad = {**good, "signed": {**good["signed"], field: value}}
        fleet.mirror.replaced[f"metadata/{path}"] = json.dumps(bad).encode()
        only_that_or_refused(fleet, task)

    replace()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"[" * 100_000, b"\xff", b'{"signed":' * 5000, b"9" * 10_000, b"{}"]
)
@pytest.mark.parametrize("path", FILES)
def test_no_metadata_at_all(published, path, data):
    fleet, _ = published
    fleet.mirror.replaced[f"metadata/{path}"] = data
    with pytest.raises(TrustError):
        looked_up(fleet, "fuzzed")


def test_a_flipped_bit_in_a_file_on_the_device(published):
    """A damaged cache is fetched anew; it never makes the device trust something else."""
    fleet, task = published
    device = Device(fleet, "cached")
    device.images.refresh()
    device.images.image("shop/rank", 1)
    files = sorted(path for path in (device.folder / "tuf").rglob("*.json") if not path.is_symlink())
    assert len(files) >= 5

    @FUZZ
    @given(st.sampled_from(files), st.integers(0, 10**6))
    def flip(path, at):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[at // 8 % len(bad)] ^= 1 << at % 8
        path.write_bytes(bad)
        try:
            device.images.refresh()
            image = device.images.image("shop/rank", 1)
            assert (image.manifest, image.size) == (task.manifest, task.size)
        except TrustError:
            pass
        finally:
            path.write_bytes(good)

    flip()
    device.state.close()
