"""A shop's scenario in a folder, the keys of its people, a server, and what a device needs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Files of keys: made once, since encrypting one takes time on purpose."""
    from shop_world import make_keys

    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shop(tmp_path, monkeypatch, keys):
    """The scenario, checked out in the current folder, with one committed task ``ipv``."""
    from shop_world import make_shop

    for name in (
        "SERVER",
        "TOKEN",
        "CA",
        "CERTIFICATE",
        "SIGNING_KEY",
        "KEY_PASSWORD",
        "IMAGE_KEY",
        "OPEN_HTTP",
    ):
        monkeypatch.delenv(f"WALLE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "correct horse")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return make_shop(folder, keys)


@pytest.fixture
def server(tmp_path, keys):
    """A server that runs, and its URL."""
    from shop_world import make_server

    with make_server(tmp_path, keys) as made:
        yield made


@pytest.fixture
def client(server):
    from walle_deploy.client import DeployClient

    with DeployClient(server.url, "good") as made:
        yield made


@pytest.fixture
def device(server, tmp_path):
    """Makes the device phone-1."""
    from shop_world import Device

    made = []

    def make():
        made.append(Device(tmp_path / "phone", server))
        return made[-1]

    yield make
    for each in made:
        each.state.close()
