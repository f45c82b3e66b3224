"""From a signed tag to a file on a device."""

import contextlib
import shutil
import subprocess

import pytest
from shop_world import CONFIG, SCRIPT, breaking, cutting
from walle_deploy.client import DeployClient, ServerError
from walle_deploy.errors import DeployError, TaskError, TrustError
from walle_deploy.publish import publishing


def test_from_a_tag_to_a_device(shop, client, device):
    number = shop.version()
    published = shop.publish(client, number)
    assert published.new and published.files.files + published.files.there == 3
    shop.release(client, number)
    assert device().install(shop.task) == shop.tree.files()


def test_again_sends_nothing(shop, client):
    number = shop.version()
    shop.publish(client, number)
    asked = []
    original = client.http.request
    client.http.request = lambda method, *rest, **more: (
        asked.append(method),
        original(method, *rest, **more),
    )[1]
    assert not shop.publish(client, number).new
    assert set(asked) == {"GET"}


def test_a_script_edit_costs_a_hundredth(shop, client, device):
    phone = device()
    first = shop.version(weights=bytes((n * n) % 251 for n in range(40_000)))
    shop.publish(client, first)
    shop.release(client, first)
    phone.install(shop.task)
    whole, phone.read_bytes = phone.read_bytes, 0
    second = shop.version(main_py=SCRIPT.replace(b") + 150", b") + 151"))
    published = shop.publish(client, second)
    assert published.files.files == 1 and published.delta_share < 0.01
    shop.release(client, second)
    assert phone.install(shop.task) == shop.tree.files()
    lists = 1024  # bytes that say which deltas there are
    assert phone.read_bytes < 0.01 * len(SCRIPT) + lists < whole


def test_deltas_lead_from_the_last_versions(shop, world, client):
    for n in range(4):
        shop.publish(client, shop.version(main_py=SCRIPT.replace(b") + 150", b") + %d" % (1000 + n))))
    digests = [next(f.sha256 for f in shop.manifest(n).files if f.path == "main.py") for n in range(1, 5)]
    assert {delta.base for delta in world.index().get(digests[3])} == {"", *digests[1:3]}


def test_a_delta_leads_from_what_devices_run(shop, world, client):
    shop.publish(client, shop.version())
    release = shop.release(client, 1)
    for n in range(4):
        shop.publish(client, shop.version(main_py=SCRIPT.replace(b") + 150", b") + %d" % (1000 + n))))
    assert client.release(release).standing.version == "v1"
    digests = [next(f.sha256 for f in shop.manifest(n).files if f.path == "main.py") for n in (1, 3, 4, 5)]
    stable = client.task(shop.task).stable
    bases = {delta.base for delta in world.index().get(digests[3])}
    assert bases == {"", *digests[1:3], *([digests[0]] if stable == 1 else [])}


def test_a_version_that_others_signed_is_refused(shop, client):
    number = shop.version(key="other")
    with pytest.raises(TrustError, match="not allowed"):
        shop.publish(client, number)


def test_an_unsigned_tag_is_refused(shop, client):
    shop.scenario.tag(shop.task, None, "unsigned")
    with pytest.raises(TrustError, match="not signed"):
        shop.publish(client, 1)


def test_a_moved_tag_is_refused(shop, client):
    first = shop.version()
    second = shop.version(main_py=SCRIPT + b"# more\n")
    refs, name = shop.scenario.git.refs, f"refs/tags/task/{shop.task}/v".encode()
    refs[name + b"2"] = refs[name + b"1"]
    with pytest.raises(TrustError, match="moved"):
        shop.publish(client, second)
    assert shop.publish(client, first).new


def test_the_server_takes_no_version_that_its_own_people_did_not_sign(shop, world, client):
    """Who signs here may be another than whom the server allows."""
    from walle_deploy.task.sshsig import Signers, SigningKey

    number = shop.version(key="other")
    shop.allowed = Signers.of(SigningKey.load(world.keys / "other"))
    with pytest.raises(ServerError, match="not allowed"):
        shop.publish(client, number)
    assert not client.task(shop.task).versions


def test_a_version_that_is_there_with_other_content_is_refused(shop, client):
    number = shop.version()
    shop.publish(client, number)
    shop.write("main.py", SCRIPT + b"# other\n")
    shop.tree.commit("Other")
    del shop.scenario.git.refs[f"refs/tags/task/{shop.task}/v1".encode()]
    assert shop.version() == number
    with pytest.raises(DeployError, match="never changes"):
        shop.publish(client, number)


def test_a_network_that_ends_in_the_middle_of_a_file(shop, world, client, device):
    import numpy as np

    noise = np.random.default_rng(1).integers(0, 256, (12, 300_000), np.uint8)
    for n, data in enumerate(noise):
        shop.write(f"data/{n}.bin", data.tobytes())
    number = shop.version()
    with (
        cutting(world.url, 1_500_000) as url,
        DeployClient(url, world.server.tokens["admin"], tries=2) as cut,
        pytest.raises(ServerError, match="cannot be reached"),
    ):
        shop.publish(cut, number)
    published = shop.publish(client, number)
    assert 0 < published.files.there < 12 and published.files.files + published.files.there == 15
    shop.release(client, number)
    assert device().install(shop.task) == shop.tree.files()


@pytest.mark.parametrize("before", [True, False], ids=["before it is sent", "before it is answered"])
def test_every_request_may_be_lost_and_repeated(shop, world, client, device, before):
    shop.publish(client, shop.version())
    number = shop.version(main_py=SCRIPT + b"# second\n")
    at, done = 0, False
    while not done:
        with contextlib.suppress(ServerError), breaking(client, at, before):
            done = not shop.publish(client, number).new
        at += 1
        assert at < 60
    assert at > 5
    shop.release(client, number)
    assert device().install(shop.task) == shop.tree.files()


def test_a_wrong_token_and_no_server(shop, world):
    number = shop.version()
    with (
        DeployClient(world.url, "bad") as other,
        pytest.raises(ServerError, match="token is unknown") as told,
    ):
        shop.publish(other, number)
    assert told.value.status == 401
    with world.client("viewer") as other, pytest.raises(ServerError, match="may not do this") as told:
        shop.publish(other, number)
    assert told.value.status == 403
    with DeployClient("http://127.0.0.1:9", "good", tries=2) as other:
        with pytest.raises(ServerError, match=r"cannot be reached.*is it running") as told:
            shop.publish(other, number)
        assert told.value.status == 0


def test_exclusive_files_go_to_one_device(shop, world, client, device):
    config = CONFIG.format(shop.task, 'exclusive = ["personal/*"]')
    shop.write("walle.toml", config.encode())
    number = shop.version(personal__taste=b"chocolate" * 1000)
    with pytest.raises(DeployError, match=r"exclusive.*walle task policy"):
        shop.publish(client, number)
    client.set_policy(shop.task, {"devices": ["phone-7"]})
    shop.publish(client, number)
    (file,) = [f for f in shop.manifest(number).files if f.exclusive]
    assert file.path == "personal/taste"
    store = world.store()
    assert store.has(file.sha256, "phone-7") and not store.has(file.sha256)
    assert not world.index().get(file.sha256)
    shop.release(client, number)
    assert device("phone-7").install(shop.task) == shop.tree.files()
    assert device("phone-8").offered(shop.task) is None


def test_a_revoked_version_is_refused_whatever_a_server_says(shop, world, client, device):
    number = shop.version()
    shop.publish(client, number)
    shop.release(client, number)
    phone = device()
    assert phone.install(shop.task)
    publishing.revoke(client, shop.task, number, "leaks", world.server.keys["targets"])
    phone.images.refresh()
    assert phone.images.image(shop.task, number).revoked == "leaks"
    with pytest.raises(ServerError, match="revoked"):
        shop.release(client, number)
    publishing.revoke(client, shop.task, number, "leaks", world.server.keys["targets"])


def test_a_tree_that_no_manifest_takes(shop, client):
    shop.write("a" * 200 + "/" + "b" * 100, b"x")
    with pytest.raises(DeployError, match="240"):
        shop.publish(client, shop.version())


@pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("ssh-keygen")), reason="needs git and ssh-keygen"
)
def test_a_tag_of_git_itself(shop, world, client):
    subprocess.run(
        ["git", "-c", "gpg.format=ssh", "-c", f"user.signingkey={world.keys / 'tag'}", "tag", "-s", "-m", "By git",
         f"task/{shop.task}/v1"],
        check=True, cwd=shop.tree.folder, capture_output=True,
    )  # fmt: skip
    assert shop.publish(client, 1).new


def test_no_such_version(shop, client):
    with pytest.raises(TaskError, match="no version"):
        shop.publish(client, 5)
