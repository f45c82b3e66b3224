"""Files that come: kept only whole, in parts only in memory, and told if they cannot be kept."""

import hashlib

import pytest
from api_shop import SHA
from walle_deploy.server.api.routing import PREFIX

pytestmark = pytest.mark.usefixtures("no_limits")


def test_an_upload_is_kept_only_if_it_is_what_its_digest_says(world, shop):
    place, data = shop.new_file()
    path = f"{PREFIX}/files/{place['sha256']}"
    for body in (data + b"x", b"", data[:-1]):
        got = world.call("PUT", path, body)
        assert got.status == 400
        assert "nothing was kept" in got.json["fix"]
        assert world.call("HEAD", path).status == 404
    assert world.call("PUT", path, pieces=[data[:3], data[3:]]).status == 201
    assert world.call("PUT", path, data).status == 200
    assert world.call("HEAD", path).headers["content-length"] == str(len(data))
    assert not list(world.settings.path("uploads").iterdir())


def test_an_upload_that_breaks_off_leaves_nothing(world, shop):
    place, data = shop.new_file()
    path = f"{PREFIX}/files/{place['sha256']}"
    with pytest.raises(AttributeError):  # nobody is there to be answered
        world.call("PUT", path, pieces=[data, None])
    assert world.call("HEAD", path).status == 404
    assert not list(world.settings.path("uploads").iterdir())


def test_a_large_upload_is_in_memory_in_parts_only(world):
    import tracemalloc

    piece = b"x" * (1 << 18)
    digest = hashlib.sha256(piece * 256).hexdigest()
    pieces = [piece] * 256
    tracemalloc.start()
    assert world.call("PUT", f"{PREFIX}/files/{digest}", pieces=pieces).status == 201
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_an_upload_that_says_it_is_too_large_is_refused_before_it_comes(world):
    got = world.call("PUT", f"{PREFIX}/files/{SHA}", b"", headers={"content-length": str(5 << 30)})
    assert got.status == 413


def test_a_full_disk_is_told(world, shop, monkeypatch):
    import tempfile

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    place, data = shop.new_file()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    got = world.call("PUT", f"{PREFIX}/files/{place['sha256']}", data)
    assert (got.status, got.json["error"]) == (507, "the file cannot be kept: No space left on device")
