"""From a signed tag to a file on a device."""

import contextlib
import shutil
import subprocess

import pytest
from shop_world import CONFIG, SCRIPT
from walle_deploy.client import DeployClient, ServerError
from walle_deploy.errors import DeployError, TaskError, TrustError


def test_from_a_tag_to_a_device(shop, server, client, device):
    number = shop.version()
    published = shop.publish(client, number)
    assert published.new and published.files.files == 3
    assert device().install("ipv", number) == shop.tree.files()


def test_again_sends_nothing(shop, server, client):
    number = shop.version()
    shop.publish(client, number)
    server.double.asked.clear()
    assert not shop.publish(client, number).new
    assert {method for method, _ in server.double.asked} == {"GET"}


def test_a_script_edit_costs_a_hundredth(shop, server, client, device):
    weights = bytes((n * n) % 251 for n in range(40_000))
    phone = device()
    shop.publish(client, first := shop.version(weights=weights))
    phone.install("ipv", first)
    whole, phone.read_bytes = phone.read_bytes, 0
    edited = SCRIPT.replace(b") + 150", b") + 151")
    published = shop.publish(client, second := shop.version(main_py=edited))
    assert published.files.files == 1 and published.delta_share < 0.01
    assert phone.install("ipv", second) == shop.tree.files()
    assert phone.read_bytes < 0.01 * len(SCRIPT) < whole


def test_deltas_lead_from_the_last_versions(shop, server, client):
    for n in range(4):
        shop.publish(client, shop.version(main_py=SCRIPT.replace(b") + 150", b") + %d" % (1000 + n))))
    newest = next(f for f in server.double.manifests["ipv", 4].files if f.path == "main.py")
    bases = {delta.base for delta in server.double.index.get(newest.sha256)}
    wanted = {
        f.sha256 for n in (2, 3) for f in server.double.manifests["ipv", n].files if f.path == "main.py"
    }
    assert bases == {"", *wanted}


def test_a_version_that_others_signed_is_refused(shop, client, keys):
    number = shop.version(key=keys.other_tag)
    with pytest.raises(TrustError, match="not allowed"):
        shop.publish(client, number)


def test_an_unsigned_tag_is_refused(shop, client):
    shop.scenario.tag("ipv", None, "unsigned")
    with pytest.raises(TrustError, match="not signed"):
        shop.publish(client, 1)


def test_a_moved_tag_is_refused(shop, client):
    first = shop.version()
    second = shop.version(main_py=SCRIPT + b"# more\n")
    refs = shop.scenario.git.refs
    refs[b"refs/tags/task/ipv/v2"] = refs[b"refs/tags/task/ipv/v1"]
    with pytest.raises(TrustError, match="moved"):
        shop.publish(client, second)
    assert shop.publish(client, first).new


def test_a_version_that_is_there_with_other_content_is_refused(shop, client):
    number = shop.version()
    shop.publish(client, number)
    shop.write("main.py", SCRIPT + b"# other\n")
    shop.tree.commit("Other")
    del shop.scenario.git.refs[b"refs/tags/task/ipv/v1"]
    assert shop.version() == number
    with pytest.raises(DeployError, match="never changes"):
        shop.publish(client, number)


def test_a_broken_network_half_way(shop, server, client, device):
    for n in range(12):
        shop.write(f"data/{n}.bin", bytes([n]) * 5000)
    number = shop.version()
    left = [7]

    def broken(request):
        if request.method == "PUT" and "/files/" in request.url.path:
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionError

    server.double.broken = broken
    with DeployClient(server.url, "good", tries=1) as impatient, pytest.raises(ServerError):
        shop.publish(impatient, number)
    server.double.broken = lambda request: None
    published = shop.publish(client, number)
    assert published.files.there == 7 and published.files.files == 15 - 7
    assert device().install("ipv", number) == shop.tree.files()


def test_every_step_may_break_and_be_repeated(shop, server, device):
    """Whatever request the connection breaks at, before or after the server has done it, repeating makes it whole."""
    shop.publish(DeployClient(server.url, "good"), shop.version())
    number = shop.version(main_py=SCRIPT + b"# second\n")
    at, done = 0, False
    while not done:
        count = [at]

        def broken(request, count=count):
            count[0] -= 1
            if count[0] == -1:
                raise ConnectionError

        server.double.broken = broken
        with DeployClient(server.url, "good", tries=1) as impatient, contextlib.suppress(ServerError):
            done = not shop.publish(impatient, number).new
        at += 1
        assert at < 60
    server.double.broken = lambda request: None
    assert device().install("ipv", number) == shop.tree.files()


def test_a_wrong_token_and_no_server(shop, server):
    number = shop.version()
    with (
        DeployClient(server.url, "bad") as other,
        pytest.raises(ServerError, match=r"not known; log in") as told,
    ):
        shop.publish(other, number)
    assert told.value.status == 401
    with DeployClient("http://127.0.0.1:9", "good", tries=2) as other:
        with pytest.raises(ServerError, match=r"cannot be reached.*is it running") as told:
            shop.publish(other, number)
        assert told.value.status == 0


def test_exclusive_files_go_to_one_device(shop, server, client, device):
    config = (CONFIG % b"ipv").replace(
        b'script = "main.py"', b'script = "main.py"\nexclusive = ["personal/*"]'
    )
    (shop.tree.folder / "walle.toml").write_bytes(config)
    number = shop.version(personal__taste=b"chocolate" * 100)
    with pytest.raises(DeployError, match=r"exclusive.*walle task policy"):
        shop.publish(client, number)
    client.set_policy("ipv", {"devices": ["phone-1"]})
    shop.publish(client, number)
    store = server.double.store
    (file,) = [f for f in server.double.manifests["ipv", number].files if f.exclusive]
    assert file.path == "personal/taste"
    assert store.has(file.sha256, "phone-1") and not store.has(file.sha256)
    assert not server.double.index.get(file.sha256)
    assert device().install("ipv", number) == shop.tree.files()


def test_a_scenario_whose_tree_no_manifest_takes(shop, client):
    shop.write("a" * 200 + "/" + "b" * 100, b"x")
    with pytest.raises(DeployError, match="240"):
        shop.publish(client, shop.version())


@pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("ssh-keygen")), reason="needs git and ssh-keygen"
)
def test_a_tag_of_git_itself(shop, client, keys):
    subprocess.run(
        ["git", "-c", "gpg.format=ssh", "-c", f"user.signingkey={keys.tag}", "tag", "-s", "-m", "By git", "task/ipv/v1"],
        check=True, cwd=shop.tree.folder, capture_output=True,
    )  # fmt: skip
    assert shop.publish(client, 1).new


def test_no_such_version(shop, client):
    with pytest.raises(TaskError, match="no version"):
        shop.publish(client, 5)
