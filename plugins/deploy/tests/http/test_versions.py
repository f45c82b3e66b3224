"""The way of a version from its files to a release, and what is refused on it."""

import base64
import hashlib

import pytest
from api_shop import DATA, WHY
from walle_deploy.manifest import File, Manifest
from walle_deploy.server.api.routing import PREFIX
from walle_deploy.server.testing import QUICK
from walle_deploy.task.sshsig import SigningKey

pytestmark = pytest.mark.usefixtures("no_limits")


def test_a_version_is_taken_only_with_a_tag_that_an_allowed_key_has_signed(world, shop):
    task = shop.task()
    manifest = shop.manifest(task)
    right = world.version(manifest, 1)
    stranger = SigningKey.generate()
    mine, world.signer = world.signer, stranger
    foreign = world.version(manifest, 1)
    world.signer = mine
    other = world.version(shop.manifest(shop.task()), 1)
    unsigned = base64.b64encode(base64.b64decode(right["tag_object"]).partition(b"-----BEGIN")[0]).decode()
    for change, status in [
        ({"tag_object": foreign["tag_object"]}, 409),
        ({"tag_object": other["tag_object"]}, 409),
        ({"tag_object": unsigned}, 409),
        ({"tag_object": ""}, 409),
        ({"tag_object": "!"}, 400),
        ({"commit": "0" * 40}, 409),
        ({"message": "another"}, 409),
        ({"number": 2}, 409),
        ({"manifest": ""}, 400),
        ({"manifest": other["manifest"]}, 400),
        ({"manifest": base64.b64encode(b'{"format": "walle-manifest-1"}').decode()}, 400),
    ]:
        got = world.call("POST", f"{PREFIX}/tasks/{task}/versions", {**right, **change})
        assert got.status == status, (change, got.body)
    assert world.call("GET", f"{PREFIX}/tasks/{task}").json["versions"] == []
    world.call("POST", f"{PREFIX}/tasks/{task}/versions", right, expect=201)
    world.call("POST", f"{PREFIX}/tasks/{task}/versions", right, expect=201)  # equal ones may come again


def test_a_version_whose_files_are_not_here_is_refused(world, shop):
    task = shop.task()
    for file in [File("main.py", "ab" * 32, 5), File("main.py", shop.there(), len(DATA) + 1)]:
        body = world.version(Manifest.of(task, "v1", [file]), 1)
        got = world.call("POST", f"{PREFIX}/tasks/{task}/versions", body)
        assert got.status == 409
        assert "main.py" in got.json["error"]
        assert file.sha256 in got.json["fix"]


def test_exclusive_files_are_looked_for_where_their_one_device_finds_them(world, shop):
    data = b"for one device"
    sha256 = hashlib.sha256(data).hexdigest()
    task = shop.task({"devices": ["phone-7"]})
    body = world.version(Manifest.of(task, "v1", [File("main.py", sha256, len(data), exclusive=True)]), 1)
    path = f"{PREFIX}/tasks/{task}/versions"
    world.call("PUT", f"{PREFIX}/files/{sha256}", data)
    assert world.call("POST", path, body).status == 409
    world.call("PUT", f"{PREFIX}/files/{sha256}?device=phone-7", data, expect=201)
    world.call("POST", path, body, expect=201)
    assert world.call("HEAD", f"{PREFIX}/files/{sha256}?device=phone-8").status == 404
    everyone = shop.task()
    body = world.version(Manifest.of(everyone, "v1", [File("main.py", sha256, len(data), exclusive=True)]), 1)
    assert world.call("POST", f"{PREFIX}/tasks/{everyone}/versions", body).status == 409


def test_a_version_is_released_only_when_devices_can_find_it(world, shop):
    task = shop.added()
    path = f"{PREFIX}/tasks/{task}/releases"
    got = world.call("POST", path, {"version": 1, "plan": QUICK})
    assert got.status == 409
    assert "/stage" in got.json["fix"]
    world.sign(world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json)
    assert world.call("POST", f"{PREFIX}/images/{task}/1/stage").status == 204
    assert world.call("GET", f"{PREFIX}/tasks/{task}").json["versions"][0]["published"]
    world.call("POST", path, {"version": 1, "plan": QUICK}, expect=201)
    assert world.call("POST", path, {"version": 2, "plan": QUICK}).status == 404


def test_a_revoked_image_is_never_released(world, shop):
    task = shop.version()
    world.sign(world.call("POST", f"{PREFIX}/images/{task}/1/revoke", WHY, expect=200).json)
    got = world.call("POST", f"{PREFIX}/tasks/{task}/releases", {"version": 1, "plan": QUICK})
    assert got.status == 409
    assert "because" in got.json["error"]
    assert world.call("POST", f"{PREFIX}/images/{task}/1/stage").status == 409


def test_nothing_is_published_without_the_signatures_that_it_needs(world, shop):
    task = shop.added()
    proposal = world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json
    got = world.call("POST", f"{PREFIX}/images/publish")
    assert got.status == 409
    assert "0 of the 1 keys" in got.json["error"]
    key = world.keys["targets"].public.tuf.keyid
    forged = world.keys["root"].private.sign(base64.b64decode(proposal["metadata"])).hex()
    for body, status in [
        ({"role": "targets", "keyid": key, "signature": forged}, 409),
        ({"role": "root", "keyid": key, "signature": forged}, 409),
        ({"role": "../root", "keyid": key, "signature": forged}, 400),
        ({"role": "targets", "keyid": "x", "signature": forged}, 400),
        ({"role": "targets", "keyid": key, "signature": "zz"}, 400),
        ({"role": "targets", "keyid": key, "signature": "00"}, 409),
    ]:
        assert world.call("POST", f"{PREFIX}/images/sign", body).status == status, body
    assert world.call("GET", f"{PREFIX}/images").json["staged"] == {"targets": "0 of 1"}
    world.sign(proposal)
