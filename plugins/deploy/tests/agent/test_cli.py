"""``walle agent``: plain lines or JSON, a clean end at SIGTERM, and clear errors."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from agent_world import SECRET, visit, visits
from click.testing import CliRunner
from walle_deploy.cli_agent import command

pytest.importorskip("walle_pipeline")
from walle_pipeline.events import Schema


@pytest.fixture
def root(world, tmp_path):
    path = tmp_path / "root.json"
    path.write_bytes(world.fleet.bootstrap)
    return str(path)


@pytest.fixture
def walle(world, root, tmp_path):
    def run(*options, server=world.url, code=0, **settings):
        options = ["--server", server, "--root", root, "--folder", str(tmp_path / "state"), *options]
        done = CliRunner().invoke(command, options, catch_exceptions=True, **settings)
        assert done.exit_code == code, (done.output, done.exception)
        return (
            done.output
            if done.exception is None or isinstance(done.exception, SystemExit)
            else str(done.exception)
        )

    return run


def lines(*numbers):
    return b"\n".join(Schema.BASIC.encode(event, "json") for n in numbers for event in visit(n)) + b"\n"


def test_once_with_recorded_events(world, walle, tmp_path):
    world.release("count", 1, visits("count"))
    (tmp_path / "phone.jsonl").write_bytes(lines(0, 1) + b"no event\n")
    text = walle("--enrol", SECRET, "--device", "d1", "--events", str(tmp_path / "phone.jsonl"), "--once")
    heads = [line.split()[0] for line in text.splitlines() if not line.startswith("walle:")]
    assert heads[:2] == ["registered", "installed"]
    assert heads.count("ran") == 2
    assert "device d1" in text
    assert "line 7 set aside" in text
    assert len(world.told(2)) == 2
    text = walle("--once", "--json")
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds == ["checked"]


def test_attributes_of_the_user(world, walle):
    profiles = []
    post = world.on_post

    def seen(handler):
        if handler.path == "/walle/check":
            from walle_deploy.profile import Profile

            profiles.append(Profile.read(handler.data))
        post(handler)

    world.on_post = seen
    options = ["age=30", "country=DE", "vip=true", 'groups=["a", "b"]', "odd={}"]
    walle(
        "--enrol",
        SECRET,
        "--once",
        "--app-version",
        "2.1",
        *(part for o in options for part in ("--user", o)),
    )
    assert profiles[0].user == {"age": 30, "country": "DE", "vip": True, "groups": ["a", "b"], "odd": "{}"}
    assert profiles[0].device["app_version"] == "2.1"


def test_what_goes_wrong_says_so(world, walle, root, tmp_path):
    assert "in the clear" in walle("--once", server="http://walle.example", code=1)
    assert "no URL of a server" in walle("--once", server="walle", code=1)
    assert "no such file of events" in walle("--events", "nowhere.jsonl", code=1)
    assert "wanted NAME=VALUE" in walle("--user", "age", code=2)
    assert "is not registered" in walle("--once", code=1)
    assert "refuses the enrolment secret" in walle("--once", "--enrol", "wrong", code=1)
    assert "refused" in walle("--once", "--enrol", SECRET, server="http://127.0.0.1:9", code=1)
    for content in (b"", b"{}", b"\xff" * 10):
        (tmp_path / "root.json").write_bytes(content)
        assert "root" in walle("--once", code=1)
    (tmp_path / "root.json").unlink()
    assert "cannot be read" in walle("--once", code=1)


def start(world, root, tmp_path, *options, **settings):
    arguments = [
        "--server",
        world.url,
        "--root",
        root,
        "--folder",
        str(tmp_path / "state"),
        "--enrol",
        SECRET,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "walle_core", "agent", *arguments, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings,
    )  # fmt: skip


def until(process, word):
    """Reads lines until one begins with `word`."""
    guard = threading.Timer(30, process.kill)
    guard.start()
    seen = []
    while not (seen and seen[-1].startswith(word)):
        line = process.stdout.readline()
        assert line, (seen, process.stderr.read())
        seen.append(line.decode())
    guard.cancel()
    return seen


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM")
def test_events_from_standard_input_and_a_clean_end(world, root, tmp_path):
    world.release("count", 1, visits("count"))
    process = start(world, root, tmp_path, "--events", "-", stdin=subprocess.PIPE)
    until(process, "installed")
    process.stdin.write(b"{]\n" + lines(0))
    process.stdin.flush()
    until(process, "ran")
    process.stdin.write(lines(1))
    process.stdin.flush()
    until(process, "ran")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 0, error
    assert b"line 1 set aside" in error
    assert b"Traceback" not in error
    assert len(world.told(2)) == 2


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM")
def test_sigterm_ends_a_download_and_a_run(world, root, tmp_path):
    over = threading.Event()
    world.release("count", 1, visits("count", "import time\ndef main(events): time.sleep(60)\n"))
    (tmp_path / "phone.jsonl").write_bytes(lines(0))
    process = start(world, root, tmp_path, "--events", str(tmp_path / "phone.jsonl"), "--every", "1")
    until(process, "installed")

    def slow(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b"a")
            handler.wfile.flush()

    asked = threading.Event()
    world.spoilt["GET", "/walle/files/"] = lambda handler: (asked.set(), slow(handler))
    world.release("other", 1, visits("other"))
    assert asked.wait(20)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    over.set()
    assert process.returncode == 0, error
    assert b"Traceback" not in error
