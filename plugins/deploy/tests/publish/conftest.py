"""A server that runs, a shop's scenario in a folder, and what a device needs."""

import sys
from pathlib import Path

import pytest

from walle_core.cache import cache_folder

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """One server for all tests; each has a task of its own."""
    from shop_world import make_world
    from walle_deploy.server.testing import running_server

    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield make_world(server, tmp_path_factory.mktemp("keys"))


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """No settings from outside, in an empty folder."""
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
    monkeypatch.setenv("WALLE_CACHE", str(cache_folder()))  # what was measured is not measured again
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def shop(clean, world, monkeypatch):
    """The scenario, checked out in the current folder, with one committed task."""
    from shop_world import PASSPHRASE, Shop

    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", PASSPHRASE)
    return Shop(clean, world)


@pytest.fixture
def client(world):
    with world.client() as made:
        yield made


@pytest.fixture
def device(world, tmp_path):
    """Makes a device."""
    from shop_world import Device

    made = []

    def make(name="phone-1"):
        made.append(Device(tmp_path / name, world.server, name))
        return made[-1]

    yield make
    for each in made:
        each.state.close()
