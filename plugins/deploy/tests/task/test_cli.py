"""walle task, as it is typed."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner
from walle_deploy.cli_task import command
from walle_deploy.task.sshsig import SigningKey

from walle_core.cache import cache_folder
from walle_core.errors import WalleError


@pytest.fixture
def shop(tmp_path, monkeypatch):
    folder = tmp_path / "Shop 1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("WALLE_SIGNING_KEY", "WALLE_KEY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WALLE_CACHE", str(cache_folder()))  # what was measured is not measured again
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "A")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@b")
    return folder


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key"
    SigningKey.generate().save(path)
    return path


def walle(*arguments, status=0):
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def failed(*arguments):
    done = CliRunner().invoke(command, arguments)
    assert isinstance(done.exception, WalleError), (done.output, done.exception)
    return str(done.exception)


def test_from_nothing_to_a_signed_version(shop, key, tmp_path):
    made = json.loads(walle("init", "ipv", "--json"))
    assert (made["task"], made["scenario"]) == ("ipv", "shop-1")
    assert "everything fits" in walle("check")
    assert json.loads(walle("check", "--json"))["ok"]
    with (shop / "main.py").open("a") as file:
        file.write("# better\n")
    assert "+# better" in walle("diff")
    assert "not committed" in failed("tag", "-m", "One", "--key", str(key))
    assert "Better" in walle("commit", "-m", "Better")
    assert walle("diff") == ""
    assert "task/ipv/v1" in walle("tag", "-m", "One", "--key", str(key))
    assert "already" in failed("tag", "-m", "One", "--key", str(key))
    assert json.loads(walle("tag", "-m", "Old", "--key", str(key), "~1", "--json"))["tag"] == "task/ipv/v2"
    rows = json.loads(walle("log", "--json"))
    assert [(r["version"], r["message"]) for r in rows] == [
        (1, "Better"),
        (2, "The task ipv, from walle's example"),
    ]
    assert "v1" in walle("log")
    assert [c["path"] for c in json.loads(walle("diff", "v2", "v1", "--json"))] == ["main.py"]
    allowed = tmp_path / "allowed"
    allowed.write_text(f"me {SigningKey.load(key).public}\n")
    assert "signed by me" in walle("verify", "v1", "--allowed", str(allowed))
    assert json.loads(walle("verify", "task/ipv/v2", "--allowed", str(allowed), "--json"))["signer"] == "me"
    allowed.write_text(f"me {SigningKey.generate().public}\n")
    assert "not allowed" in failed("verify", "v1", "--allowed", str(allowed))
    assert "no version" in failed("verify", "x", "--allowed", str(allowed))


def test_findings_end_with_status_one(shop, key):
    walle("init", "ipv")
    (shop / "main.py").write_text("import os\n")
    text = walle("check", status=1)
    assert "imports 'os'" in text
    assert "defines no function 'main'" in text
    assert "2 errors" in text
    assert not json.loads(walle("check", "--json", "--no-run", status=1))["ok"]
    assert "everything fits" in walle("check", "HEAD", "--no-run")
    walle("commit", "-m", "Broken")
    assert "does not pass the check" in failed("tag", "-m", "x", "--key", str(key))


def test_a_second_task_is_a_second_branch(shop):
    walle("init", "ipv")
    (shop / "sub").mkdir()
    (shop / "sub" / "a.json").write_text("{}")
    assert "not committed" in failed("init", "rank")
    walle("commit", "-m", "Data")
    walle("init", "rank")
    assert not (shop / "sub").exists()
    assert json.loads(walle("check", "--no-run", "--json"))["task"] == "rank"
    assert "already" in failed("init", "ipv")


def test_going_back(shop):
    walle("init", "ipv")
    (shop / "more.json").write_text("{}")
    assert "not committed" in failed("revert", "HEAD")
    walle("commit", "-m", "More")
    walle("revert", "~1")
    assert not (shop / "more.json").exists()
    assert walle("diff") == ""
    assert len(json.loads(walle("log", "--json"))) == 3
    assert "names 0 commits" in failed("revert", "~9")


def test_where_nothing_can_be_made_it_says_why(shop, key, tmp_path):
    assert "no scenario here" in failed("check")
    assert "wanted lower-case" in failed("init", "A b")
    (shop / "x").write_text("x")
    assert "begins in an empty folder" in failed("init", "ipv")
    (shop / "x").unlink()
    walle("init", "ipv", "--scenario", "shop")
    assert "no key to sign with" in failed("tag", "-m", "x")
    assert "cannot be read" in failed("tag", "-m", "x", "--key", "nokey")
    assert "nothing has changed" in failed("commit", "-m", "x")


@pytest.mark.skipif(not shutil.which("git"), reason="the git program is not here")
def test_git_and_walle_work_side_by_side(shop, key):
    def git(*arguments):
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=shop
        ).stdout

    walle("init", "ipv")
    assert git("status", "--porcelain") == ""
    (shop / "main.py").write_text((shop / "main.py").read_text() + "# by git\n")
    git("commit", "-qam", "By git")
    assert "By git" in walle("log")
    (shop / "main.py").write_text((shop / "main.py").read_text() + "# by walle\n")
    (shop / "ignored.log").write_text("x")
    (shop / ".gitignore").write_text("*.log\n")
    walle("commit", "-m", "By walle")
    assert git("status", "--porcelain") == ""
    assert "ignored.log" not in git("ls-tree", "-r", "--name-only", "HEAD")
    git("config", "user.signingkey", f"{key}.pub")
    walle("tag", "-m", "One")
    git("fsck", "--strict")
    walle("init", "rank")
    git("switch", "-q", "task/ipv")
    assert "everything fits" in walle("check", "--no-run")
    git("checkout", "-q", "-b", "other")
    assert "is no task's" in failed("check")
    git("checkout", "-q", "--detach")
    assert "is no task's" in failed("check")


def test_every_command_has_help_with_examples():
    for name in command.commands:
        assert "Examples" in walle(name, "--help")
