"""walle task release and what follows it, as it is typed."""

import json
import os
import threading

import pytest
from click.testing import CliRunner
from shop_world import SCRIPT
from walle_deploy.cli_task import command

from walle_core.errors import WalleError

PLAN = """
watch = 0
[[stages]]
kind = "gray"
percent = 10
[[stages.gates]]
kind = "approval"
[[stages]]
kind = "full"
control = 0
"""


@pytest.fixture
def configured(shop, server, keys, monkeypatch, tmp_path):
    """The shop's repository knows the server and the keys."""
    config = shop.scenario.git.get_config()
    config.set((b"deploy",), b"server", server.url.encode())
    config.set((b"deploy",), b"imagekey", str(keys.image).encode())
    config.set((b"gpg", b"ssh"), b"allowedsignersfile", str(keys.folder / "allowed").encode())
    config.write_to_path()
    monkeypatch.setenv("WALLE_TOKEN", "good")
    (tmp_path / "plan.toml").write_text(PLAN)
    return shop


def walle(*arguments, status=0, input=None):
    done = CliRunner().invoke(command, arguments, input=input)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def failed(*arguments, input=None):
    done = CliRunner().invoke(command, arguments, input=input)
    assert isinstance(done.exception, WalleError), (done.output, done.exception)
    return str(done.exception)


def test_release_and_what_follows(configured, tmp_path):
    configured.version()
    plan = str(tmp_path / "plan.toml")
    said = walle("release", "v1", "--plan", plan)
    assert "ipv v1 is on the server: 3 files sent" in said and "release 1 has begun" in said
    assert "gray 10 %" in walle("status") and "0 of 1 approvals" in walle("status", "1")
    assert json.loads(walle("status", "--json"))["standing"]["status"] == "running"
    assert "paused" in walle("pause", "-m", "a crash")
    assert json.loads(walle("resume", "--json"))["standing"]["status"] == "running"
    assert "0 of 1" not in walle("approve")
    assert "rolled back" in walle("rollback", "-m", "wrong prices")
    assert "wrong prices" in walle("status")
    assert "rolled back" in walle("status", "--all")
    walle("status", "1", "--watch", status=1)
    assert "is revoked" in walle("revoke", "v1", "-m", "leaks")


def test_rollback_and_revoke_say_why(configured):
    for arguments in (("rollback",), ("revoke", "v1")):
        assert "--message" in walle(*arguments, status=2)


def test_a_release_is_followed_until_its_end(configured, server, tmp_path):
    configured.version()
    shown = threading.Event()
    original = server.double.shown

    def watched(release):
        shown.set()
        return original(release)

    server.double.shown = watched

    def end():
        from walle_deploy.client import DeployClient

        assert shown.wait(20)
        with DeployClient(server.url, "good") as client:
            client.rollback(1, "too slow")

    thread = threading.Thread(target=end)
    thread.start()
    said = walle("release", "v1", "--plan", str(tmp_path / "plan.toml"), "--wait", status=1)
    thread.join()
    assert "v1 is running, stage 1 of 2" in said and "rolled back: by me: too slow" in said


def test_json_of_a_release_that_is_waited_for(configured, server, tmp_path):
    configured.version()
    found = json.loads(walle("release", "v1", "--publish-only", "--json"))
    assert found["release"] is None and found["published"]["files"]["files"] == 3
    server.double.task_stable = None
    assert json.loads(walle("release", "v1", "--fast", "--json")) == {"published": None, "release": 1}


def test_the_standard_plan_depends_on_what_was_there(configured, server):
    configured.version()
    walle("release", "v1")
    first = server.double.states[1][1].plan
    assert [s.kind for s in first.stages] == ["simulation", "full"] and not first.watch
    server.double.tasks["ipv"]["stable"] = 1
    configured.version(main_py=SCRIPT + b"# two\n")
    walle("release", "v2", "--beta", "staff")
    second = server.double.states[2][1].plan
    assert [s.kind for s in second.stages] == ["simulation", "beta", "gray", "gray", "gray", "full"]
    walle("release", "2", "--no-simulation")
    assert server.double.states[3][1].plan.stages[0].kind == "gray"


def test_what_is_missing_is_said(configured, shop, server, keys, monkeypatch, tmp_path):
    configured.version()
    config = shop.scenario.git.get_config()
    assert "no version v9" in failed("release", "v9").replace("task/ipv/", "")
    assert "is no version" in failed("release", "vx")
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "wrong passphrase")
    assert "wrong passphrase, or a damaged file" in failed("release", "v1")
    monkeypatch.delenv("WALLE_KEY_PASSPHRASE")
    assert "WALLE_KEY_PASSPHRASE" in failed("release", "v1")
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "correct horse")
    assert "is not signed by your key" in failed("release", "v1", "--image-key", str(keys.other_image))
    assert "the server has it" not in walle("release", "v1", "--publish-only")
    monkeypatch.setenv("WALLE_TOKEN", "bad")
    assert "log in" in failed("status")
    monkeypatch.delenv("WALLE_TOKEN")
    monkeypatch.setenv("WALLE_SERVER", "http://127.0.0.1:9")
    assert "cannot be reached" in failed("status")
    monkeypatch.delenv("WALLE_SERVER")
    for section, name in (((b"deploy",), b"imagekey"), ((b"gpg", b"ssh"), b"allowedsignersfile")):
        del config[section][name]
    config.write_to_path()
    monkeypatch.setenv("WALLE_TOKEN", "good")
    shop.version(main_py=SCRIPT + b"# two\n")
    assert "who may sign versions?" in failed("release", "v2")
    allowed = ("--allowed", str(keys.folder / "allowed"))
    assert "which key signs images?" in failed("release", "v2", *allowed)
    del config[(b"deploy",)][b"server"]
    config.write_to_path()
    assert "no server is named" in failed("status")


def test_wrong_plans_send_nothing(configured, server, tmp_path):
    configured.version()
    plan = tmp_path / "plan.toml"
    plan.write_text("[[stages]]\nkind = 'gray'")
    assert "a gray stage has one" in failed("release", "v1", "--plan", str(plan))
    assert "leave out --fast" in walle("release", "v1", "--plan", str(plan), "--fast", status=2)
    assert not server.double.asked


def test_outside_of_a_scenario(configured, server, tmp_path, monkeypatch):
    configured.version()
    walle("release", "v1", "--fast")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WALLE_SERVER", server.url)
    assert "ipv" in walle("status")
    assert "v1 is running" in walle("approve", "1")
    assert "which task?" in failed("pause")
    assert "paused" in walle("pause", "--task", "ipv")
    assert "no scenario is here" in failed("release", "v2", "--task", "ipv")
    walle("release", "v1", "--task", "ipv", "--fast")


def test_policies_and_explanations(configured, tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text('all = [{device = {os = "android"}}, {segment = "staff"}]')
    assert json.loads(walle("policy", str(file))) == {
        "all": [{"device": {"os": "android"}}, {"segment": "staff"}]
    }
    assert "android" in walle("policy")
    assert json.loads(walle("policy", "-", "--segment", "staff", "--json", input='{"devices": ["a"]}'))[
        "policy"
    ] == {"devices": ["a"]}
    assert json.loads(walle("policy", "--segment", "staff")) == {"devices": ["a"]}
    assert "no segment 'nobody'" in failed("policy", "--segment", "nobody")
    file.write_text("devices = 3")
    assert "list of" in failed("policy", str(file))
    file.write_text("devices = ")
    assert "neither JSON nor TOML" in failed("policy", str(file))
    assert "cannot be read" in failed("policy", "nowhere")
    assert "line: because" in walle("explain", "phone-1")
    assert json.loads(walle("explain", "phone-1", "--json"))["device"] == "phone-1"


def test_a_token_is_kept_if_the_server_takes_it(configured, server, monkeypatch):
    monkeypatch.delenv("WALLE_TOKEN")
    assert "log in" in failed("status")
    assert "log in" in failed("login", input="bad\n")
    assert "no token" in failed("login", input="\n")
    assert "kept the token" in walle("login", input="good\n")
    assert "no release" in failed("status")
    walle("login", server.url, "--forget")
    assert "log in" in failed("status")


def test_help_shows_examples():
    for name in ("release", "status", "approve", "pause", "resume", "rollback", "revoke", "explain", "policy", "plan", "simulate", "login"):  # fmt: skip
        assert f"walle task {name}" in walle(name, "--help")


def test_nothing_heavy_is_imported_before_it_is_needed():
    import subprocess
    import sys

    code = "import sys, walle_deploy.cli_task; print([m for m in ('urllib3', 'tuf', 'numpy', 'dulwich', 'msgspec') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"
