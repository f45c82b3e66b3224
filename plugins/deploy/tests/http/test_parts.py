"""The parts that need no server: limits, logs, metrics, settings, the folder."""

import io
import json
import logging
import sys

import pytest
from walle_deploy.errors import DeployError
from walle_deploy.server import folder, logs
from walle_deploy.server.limits import Buckets
from walle_deploy.server.logs import JsonFormatter, Throttled
from walle_deploy.server.metrics import Metrics
from walle_deploy.server.settings import Settings
from walle_deploy.trust import load_key


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_a_bucket_lets_a_burst_through_and_then_its_rate():
    clock = Clock()
    buckets = Buckets(2.0, 5, clock=clock)
    assert [buckets.wait("a") for _ in range(5)] == [0.0] * 5
    assert buckets.wait("a") == pytest.approx(0.5)
    assert buckets.wait("b") == 0.0
    clock.now += 0.5
    assert buckets.wait("a") == 0.0
    assert buckets.wait("a") > 0
    clock.now += 60
    assert [buckets.wait("a") for _ in range(5)] == [0.0] * 5
    assert buckets.wait("a") > 0


def test_a_million_keys_take_no_more_memory_than_one():
    buckets = Buckets(1.0, 30, 1 << 12)
    before = sys.getsizeof(buckets._due)
    for number in range(100_000):
        buckets.wait(f"device-{number}")
    assert sys.getsizeof(buckets._due) == before < 10 << 12


def test_a_million_requests_of_one_key_pass_at_the_rate():
    clock = Clock()
    buckets = Buckets(1.0, 30, clock=clock)
    passed = 0
    for _ in range(100_000):
        clock.now += 0.0001
        passed += buckets.wait("a") == 0.0
    assert 39 <= passed <= 40  # 30 at once, and one for each of ten seconds


@pytest.fixture
def lines(monkeypatch):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logs.log, "handlers", [handler])
    monkeypatch.setattr(logs.log, "propagate", False)
    logs.log.setLevel("INFO")
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_of_the_log_is_json_whatever_is_in_it(lines):
    logs.event("hostile", path='"\n{"level":"x"}\x1b[31m', text="\udc80", number=3, other=object())
    (line,) = lines()
    assert line["event"] == "hostile"
    assert line["path"].startswith('"\n{')
    assert line["number"] == 3


def test_a_flood_of_one_event_is_told_in_few_lines(lines):
    clock = Clock()
    log = Throttled(burst=3, seconds=10, clock=clock)
    for _ in range(1000):
        log("flood")
    clock.now += 10
    log("flood")
    found = lines()
    assert len(found) == 4
    assert found[-1]["left_out"] == 997


def test_the_numbers_of_all_workers_are_added_up_even_of_dead_ones(tmp_path):
    one, two = Metrics(tmp_path), Metrics(tmp_path)
    one.count("checks", "digest", "quiet", by=5)
    two.count("checks", "digest", "quiet", by=7)
    two.digest.add(0.0004)
    two.flush()
    (tmp_path / "broken.board").write_bytes(b"\xff")
    body, kind = one.exposition({"devices": {"": 3}, "releases": {"running": 1}})
    assert b'walle_deploy_checks_total{kind="digest",result="quiet"} 12.0' in body
    assert b'walle_deploy_request_seconds_bucket{kind="digest",le="0.0005"} 1.0' in body
    assert b'walle_deploy_releases{status="running"} 1.0' in body
    assert b"walle_deploy_devices 3.0" in body
    assert kind.startswith("text/plain")


def test_a_folder_is_made_once_and_for_its_owner_only(tmp_path):
    made = folder.make(tmp_path / "data", "a passphrase", port=0, database="postgresql://u:p\"'\n@h/d")
    assert made.port == 0
    assert made.database == "postgresql://u:p\"'\n@h/d"
    for path in [made.path("secret"), made.path("server.toml"), *made.path("keys").glob("[!.]*[!b]")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert len(folder.secret(made.path())) == 32
    assert set(folder.online_keys(made.path())) == {"snapshot", "timestamp", "director"}
    assert load_key(made.path("keys", "root"), lambda _: "a passphrase")
    with pytest.raises(DeployError, match="not empty"):
        folder.make(tmp_path / "data", "a passphrase")


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    made = folder.make(tmp_path / "data", "a passphrase")
    made.path("secret").chmod(0o644)
    with pytest.raises(DeployError, match="chmod 600"):
        folder.secret(made.path())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 70000", "port"),
        ("prot = 1", "prot"),
        ("port = ", "cannot be read"),
        ('cert = "c.pem"', "--cert FILE --key FILE"),
        ('workers = "2"', "workers"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, text, words):
    (tmp_path / "server.toml").write_text(text)
    with pytest.raises(DeployError, match=words):
        Settings.load(tmp_path)
    with pytest.raises(DeployError, match="walle deploy init"):
        Settings.load(tmp_path / "none")
