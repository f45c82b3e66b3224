"""walle task compile, as it is typed, and what a device does with the file."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from walle_deploy.cli_task import command
from walle_deploy.task.sshsig import Signers, SigningKey

from walle_core.errors import WalleError
from walle_core.vm.errors import PackageError
from walle_core.vm.package import Package

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def task(tmp_path, monkeypatch):
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WALLE_SIGNING_KEY", raising=False)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@b")
    walle("init", "ipv")
    return folder


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key"
    SigningKey.generate().save(path)
    return path


def walle(*arguments):
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def failed(*arguments):
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    assert isinstance(done.exception, WalleError), (done.output, done.exception)
    return str(done.exception)


def test_a_task_becomes_a_package_that_only_its_signers_devices_load(task, key):
    made = json.loads(walle("compile", "--key", key, "--python", HERE, "--json"))
    assert made["file"] == "ipv.wtask"
    assert [f["python"] for f in made["forms"]] == ["source", HERE]
    data = Path("ipv.wtask").read_bytes()
    assert made["bytes"] == len(data)
    signers = Signers.of(SigningKey.load(key))
    package = Package.open(data, signers.verify, name="ipv")
    assert package.chosen().python == HERE
    space = {}
    exec(package.code(), space)
    assert callable(space[package.entry])
    assert space[package.entry].__doc__ is None
    with pytest.raises(PackageError, match="not signed by anyone trusted"):
        Package.open(data, Signers.of(SigningKey.generate()).verify)
    with pytest.raises(PackageError):
        Package.open(data[:-1] + bytes([data[-1] ^ 1]), signers.verify).code()


def test_sizes_and_load_times_are_told(task, key):
    text = walle("compile", "--key", key, "--python", HERE, "-o", "out.wtask")
    assert "load ms" in text
    assert "out.wtask" in text
    smaller = json.loads(
        walle("compile", "--key", key, "--python", HERE, "--no-lines", "--no-source", "--json")
    )
    assert [f["python"] for f in smaller["forms"]] == [HERE]


def test_what_the_manifest_does_not_grant_is_refused(task, key):
    with (task / "main.py").open("a") as file:
        file.write("\nimport subprocess\n")
    assert "imports 'subprocess'" in failed("compile", "--key", key)
    assert not (task / "ipv.wtask").exists()
    text = (task / "walle.toml").read_text()
    (task / "walle.toml").write_text(text.replace("[task]\n", '[task]\nmodules = ["subprocess"]\n', 1))
    walle("compile", "--key", key, "--python", HERE)


def test_further_modules_go_along_and_folders_do_not(task, key):
    (task / "helper.py").write_text("def two():\n    return 2\n")
    with (task / "main.py").open("a") as file:
        file.write("\nimport helper\n")
    walle("compile", "--key", key, "--python", HERE)
    opened = Package.open(Path("ipv.wtask").read_bytes(), lambda m, s: True)
    assert set(opened.modules) >= {"main", "helper"}
    (task / "json.py").write_text("")
    assert "hides the standard module" in failed("compile", "--key", key)
    (task / "json.py").unlink()
    (task / "sub").mkdir()
    (task / "sub" / "a.py").write_text("")
    assert "in no folder" in failed("compile", "--key", key)


def test_a_python_that_was_asked_for_and_is_not_here_is_an_error(task, key):
    assert "3.99 is not here" in failed("compile", "--key", key, "--python", "3.99")
    assert "no minor version" in failed("compile", "--key", key, "--python", "2.7")
    assert "not CPython 3.99" in failed("compile", "--key", key, "--python", f"3.99={sys.executable}")
    assert "no key to sign with" in failed("compile")


def test_a_revision_is_compiled_as_it_was(task, key):
    with (task / "main.py").open("a") as file:
        file.write("\nimport subprocess\n")
    walle("compile", "~0", "--key", key, "--python", HERE)
    assert "subprocess" not in Package.open(
        Path("ipv.wtask").read_bytes(), lambda m, s: True
    ).payload().decode("latin1")
