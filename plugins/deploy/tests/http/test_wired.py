"""What the server hands on to its parts: gates of plugins, the cloud's costs."""

from typing import ClassVar

import pytest
from http_world import World
from walle_deploy.cloud.store import CloudStore
from walle_deploy.errors import CloudError
from walle_deploy.release.gates import Time
from walle_deploy.server import services

PREFIX = "/api/v1"
CLOUD = """\
database = "sqlite:///counts.db"
[[task]]
model = "large.onnx"
name = "rank"
stream = "rank"
[price]
gb = 1000.0
currency = "CHF"
"""


class Weekday(Time, frozen=True):
    kind: ClassVar[str] = "weekday"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A server with a plugin's gate, and told of a cloud; and the HTML of its pages, by path."""
    real = services.installed_gates
    monkeypatch.setattr(services, "installed_gates", lambda: real().add(Weekday))
    (tmp_path / "cloud.toml").write_text(CLOUD)
    world = World(tmp_path / "server", cloud=str(tmp_path / "cloud.toml"))
    yield world
    world.close()


def page(world, path):
    """A page of the dashboard, for somebody who has logged in."""
    first = world.call("GET", "/login", role=None)
    cookies = first.headers["set-cookie"].partition(";")[0]
    csrf = first.body.decode().partition('name="csrf" value="')[2].partition('"')[0]
    form = f"csrf={csrf}&token={world.tokens['admin']}&next=/".encode()
    headers = {"cookie": cookies, "content-type": "application/x-www-form-urlencoded"}
    entered = world.call("POST", "/login", form, role=None, headers=headers)
    assert entered.status == 303, entered.body
    cookies = entered.headers["set-cookie"].partition(";")[0]
    return world.call("GET", path, role=None, headers={"cookie": cookies}, expect=200).body.decode()


def test_a_plugins_gate_is_taken_and_shown(made):
    made.add_task("rank")
    made.publish("rank", 1, {"main.py": b"1"})
    gate = {"kind": "weekday", "seconds": 3.0}
    plan = {"stages": [{"kind": "gray", "percent": 50, "gates": [gate]}, {"kind": "full"}]}
    release = made.release("rank", 1, plan)
    assert "weekday" in page(made, f"/releases/{release}")


def test_the_dashboard_shows_what_the_cloud_has_counted(made, tmp_path):
    assert "Nothing was sent" in page(made, "/cloud")
    store = CloudStore.open(f"sqlite:///{tmp_path / 'counts.db'}")
    store.count_runs("reports", {("rank", "v1"): (200, 3)}, {})
    store.close()
    text = page(made, "/cloud")
    assert "200" in text and "CHF" in text


def test_a_cloud_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(CloudError, match="cannot be read"):
        World(tmp_path / "server", cloud="nothing.toml")
