"""walle task release and what follows it, as it is typed."""

import json
import os
import threading
import time

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
def configured(shop, world, monkeypatch, tmp_path):
    """The shop's repository knows the server and the keys."""
    config = shop.scenario.git.get_config()
    config.set((b"deploy",), b"server", world.url.encode())
    config.set((b"deploy",), b"imagekey", str(world.image_key).encode())
    config.set((b"gpg", b"ssh"), b"allowedsignersfile", str(world.keys / "allowed").encode())
    config.write_to_path()
    monkeypatch.setenv("WALLE_TOKEN", world.server.tokens["admin"])
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


def until(ask, words):
    """What a server says as soon as it has heard of a change, which takes it a moment."""
    for _ in range(200):
        if words in (said := ask()):
            return said
        time.sleep(0.02)
    raise AssertionError(said)


def test_release_and_what_follows(configured, tmp_path):
    configured.version()
    plan = str(tmp_path / "plan.toml")
    said = walle("release", "v1", "--plan", plan)
    assert f"{configured.task} v1 is on the server: " in said
    release = said.split("release ")[1].split()[0]
    assert f"release {release} has begun" in said
    assert "gray 10 %" in walle("status") and "0 of 1 approvals" in walle("status", release)
    assert json.loads(walle("status", "--json"))["standing"]["status"] == "running"
    assert "is paused" in walle("pause", "-m", "a crash")
    assert json.loads(walle("resume", "--json"))["standing"]["status"] == "running"
    assert "0 of 1" not in walle("approve")
    assert "rolled back" in walle("rollback", "-m", "wrong prices")
    assert "wrong prices" in walle("status")
    assert "rolled back" in walle("status", "--all")
    walle("status", release, "--watch", status=1)
    assert "nor takes it from another server" in walle("revoke", "v1", "-m", "leaks")


def test_rollback_and_revoke_say_why(configured):
    for arguments in (("rollback",), ("revoke", "v1")):
        assert "--message" in walle(*arguments, status=2)


def test_a_version_is_revoked_without_the_key_on_the_server_only(configured, world):
    configured.version()
    walle("release", "v1", "--publish-only")
    assert json.loads(walle("revoke", "v1", "-m", "leaks", "--server-only", "--json"))["image"] is False
    with world.client() as client:
        assert client.task(configured.task).versions[0].revoked


def test_a_release_is_followed_until_its_end(configured, world, tmp_path, monkeypatch):
    from walle_deploy.publish import following

    configured.version()
    shown = threading.Event()
    original = following.summary
    monkeypatch.setattr(following, "summary", lambda release: (shown.set(), original(release))[1])
    monkeypatch.setattr(following, "POLL_S", 60.0)  # it is told

    def end():
        assert shown.wait(20)
        with world.client() as client:
            client.rollback(client.releases(configured.task)[0].id, "too slow")

    thread = threading.Thread(target=end)
    thread.start()
    said = walle("release", "v1", "--plan", str(tmp_path / "plan.toml"), "--wait", status=1)
    thread.join()
    assert "v1 is running, stage 1 of 2" in said and "rolled back: by admin: too slow" in said


def test_json_of_a_release(configured):
    configured.version()
    found = json.loads(walle("release", "v1", "--publish-only", "--json"))
    assert found["release"] is None and found["published"]["number"] == 1
    found = json.loads(walle("release", "v1", "--fast", "--json"))
    assert found["published"] is None and found["release"] > 0


def test_the_standard_plan_depends_on_what_was_there(configured, world):
    configured.version()
    with world.client() as client:
        client.set_segment("staff", {"devices": ["a"]})
        walle("release", "v1")
        first = client.releases(configured.task)[0]
        kinds = [stage["kind"] for stage in client.release(first.id).plan["stages"]]
        assert kinds == ["simulation", "full"]
        client.rollback(first.id, "for the test")
        configured.version(main_py=SCRIPT + b"# two\n")
        walle("release", "v2", "--no-simulation", "--beta", "staff")
        second = client.releases(configured.task)[0]
        stages = client.release(second.id).plan["stages"]
        assert [stage["kind"] for stage in stages] == ["beta", "full"] and stages[0]["policy"] == "staff"


def test_what_is_missing_is_said(configured, world, monkeypatch):
    configured.version()
    config = configured.scenario.git.get_config()
    assert "there is no version" in failed("release", "v9")
    assert "is no version" in failed("release", "vx")
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "wrong passphrase")
    assert "wrong passphrase, or a damaged file" in failed("release", "v1")
    right = "a passphrase for tests"
    monkeypatch.delenv("WALLE_KEY_PASSPHRASE")
    assert "WALLE_KEY_PASSPHRASE" in failed("release", "v1")
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", right)
    assert "is not signed by your key" in failed(
        "release", "v1", "--image-key", str(world.keys / "stranger.pem")
    )
    walle("release", "v1", "--publish-only")
    token = os.environ["WALLE_TOKEN"]
    monkeypatch.setenv("WALLE_TOKEN", "bad")
    told = failed("status")
    assert "token is unknown" in told and "set WALLE_TOKEN" in told
    monkeypatch.delenv("WALLE_TOKEN")
    monkeypatch.setenv("WALLE_SERVER", "http://127.0.0.1:9")
    assert "cannot be reached" in failed("status")
    monkeypatch.delenv("WALLE_SERVER")
    for section, name in (((b"deploy",), b"imagekey"), ((b"gpg", b"ssh"), b"allowedsignersfile")):
        del config[section][name]
    config.write_to_path()
    monkeypatch.setenv("WALLE_TOKEN", token)
    configured.version(main_py=SCRIPT + b"# two\n")
    assert "who may sign versions?" in failed("release", "v2")
    allowed = ("--allowed", str(world.keys / "allowed"))
    assert "which key signs images?" in failed("release", "v2", *allowed)
    del config[(b"deploy",)][b"server"]
    config.write_to_path()
    assert "no server is named" in failed("status")


def test_wrong_plans_send_nothing(configured, tmp_path):
    configured.version()
    plan = tmp_path / "plan.toml"
    plan.write_text("[[stages]]\nkind = 'gray'")
    assert "a gray stage has one" in failed("release", "v1", "--plan", str(plan))
    assert "leave out --fast" in walle("release", "v1", "--plan", str(plan), "--fast", status=2)
    assert "has no release" in failed("status")


def test_a_second_release_waits_for_the_first(configured):
    configured.version()
    walle("release", "v1", "--fast")
    configured.version(main_py=SCRIPT + b"# two\n")
    assert "v1" in failed("release", "v2", "--fast")


def test_outside_of_a_scenario(configured, world, tmp_path, monkeypatch):
    configured.version()
    walle("release", "v1", "--fast")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WALLE_SERVER", world.url)
    assert configured.task in walle("status")
    assert "which task?" in failed("pause")
    assert "paused" in walle("pause", "--task", configured.task)
    assert "no scenario is here" in failed("release", "v2", "--task", configured.task)


def test_policies_and_explanations(configured, tmp_path, device):
    configured.version()
    walle("release", "v1", "--fast")
    file = tmp_path / "policy.toml"
    staff = f"staff-{configured.task}"
    walle("policy", "-", "--segment", staff, input='{"devices": ["a"]}')
    assert json.loads(walle("policy", "--segment", staff)) == {"devices": ["a"]}
    file.write_text(f'any = [{{device = {{os = "android"}}}}, {{segment = "{staff}"}}]')
    said = json.loads(walle("policy", str(file)))
    assert said == {"any": [{"device": {"os": "android"}}, {"segment": staff}]}
    assert "android" in walle("policy")
    assert json.loads(walle("policy", "--json"))["policy"] == said
    assert "no segment 'nobody'" in failed("policy", "--segment", "nobody")
    file.write_text("devices = 3")
    assert "list of" in failed("policy", str(file))
    file.write_text("devices = ")
    assert "neither JSON nor TOML" in failed("policy", str(file))
    assert "cannot be read" in failed("policy", "nowhere")
    device().offered(configured.task)
    said = until(lambda: walle("explain", "phone-1"), "unknown: ")
    assert f"phone-1 should run nothing of {configured.task}" in said
    assert json.loads(walle("explain", "phone-1", "--json"))["device"] == "phone-1"
    assert "has not described itself" in walle("explain", "phone-99")


def test_a_stage_is_explained(configured, tmp_path, device):
    configured.version()
    walle("release", "v1", "--plan", str(tmp_path / "plan.toml"))
    device().offered(configured.task)
    said = until(lambda: walle("explain", "phone-1"), "stage 1")
    assert "stage 1, gray 10 %" in said and "bucket " in said


def test_a_token_is_kept_if_the_server_takes_it(configured, world, monkeypatch):
    monkeypatch.delenv("WALLE_TOKEN")
    assert "log in" in failed("status") or "token is missing" in failed("status")
    assert "token is unknown" in failed("login", input="bad\n")
    assert "no token" in failed("login", input="\n")
    token = world.server.tokens["operator"]
    assert "kept the token" in walle("login", input=f"{token}\n")
    assert "has no release" in failed("status")
    walle("login", world.url, "--forget")
    assert "token is missing" in failed("status")


def visits(count):
    """Lines of a log: visits of an item's page, each with a click."""
    for n in range(count):
        for step, kind in enumerate(("page_enter", "click", "page_exit")):
            event = {
                "kind": kind,
                "page": "item",
                "key": f"u{n}",
                "time": 1_780_000_000_000 + 60_000 * n + 1000 * step,
            }
            yield json.dumps(event | ({"widget": "buy"} if kind == "click" else {})) + "\n"


def test_a_simulation_is_told_to_its_release(clean, world, monkeypatch, tmp_path):
    """The example of `walle task init`, from its first commit to a release whose simulation has ended."""
    monkeypatch.setenv("WALLE_SERVER", world.url)
    monkeypatch.setenv("WALLE_TOKEN", world.server.tokens["admin"])
    monkeypatch.setenv("WALLE_SIGNING_KEY", str(world.keys / "tag"))
    monkeypatch.setenv("WALLE_IMAGE_KEY", str(world.image_key))
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "a passphrase for tests")
    walle("init", "visits")
    walle("tag", "-m", "One")
    walle("release", "v1", "--allowed", str(world.keys / "allowed"))
    assert "the simulation has not ended" in walle("status")
    release = str(json.loads(walle("status", "--json"))["id"])
    log = tmp_path / "log.jsonl"
    log.write_text("")
    told = ("simulate", "v1", "--logs", str(log), "--release", release)
    assert f"release {release} was told nothing" in walle(*told, status=1)
    limits = tmp_path / "limits.toml"
    limits.write_text("runs = 0")
    assert "no limits of a simulation" in failed(*told, "--limits", str(limits))
    limits.write_text("runs = 20")
    log.write_text("".join(visits(30)))
    found = json.loads(walle(*told, "--limits", str(limits), "--json"))
    assert found["passed"] and found["release"] == int(release)
    assert "0 of 1 approvals" in walle("status")
    assert "stage 2 of 2, full" in walle("approve")


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
