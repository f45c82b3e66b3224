"""Installed versions: what is shared, damaged, bad, too much, or in use."""

import os
import subprocess
import sys
import threading
import time

import pytest
from install_power import Memory, QuickDisk, version
from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.slots import KEEP_DOWNLOADS_S, Slots
from walle_deploy.install.update import update
from walle_deploy.manifest import File, Manifest

WEB = Memory()
A, B, C, D = (version(number, WEB) for number in range(4))


@pytest.fixture
def slots(tmp_path):
    with Slots(tmp_path / "root", disk=QuickDisk()) as made:
        yield made


def put(slots, what, good=True):
    made = update(slots, *what, WEB)
    if good:
        slots.confirm("task")
    return made


def spoil(path, data=b"spoilt"):
    path.chmod(0o644)
    path.write_bytes(data)


def test_files_are_where_the_manifest_says(slots):
    found = put(slots, A)
    assert slots.load("task") == found
    for file in A[0].files:
        assert (found.folder / file.path).read_bytes() == WEB.files[f"mem:{file.sha256}"]
    assert slots.tasks() == ["task"]
    assert not list(slots.downloads.iterdir())
    assert slots.load("other") is None


def test_what_versions_share_is_on_the_disk_once_and_fetched_once(slots):
    a = put(slots, A)
    WEB.asked.clear()
    b = put(slots, B)
    assert len(WEB.asked) == 2  # the model and the script
    assert (a.folder / "model/words.txt").samefile(b.folder / "model/words.txt")
    assert not (a.folder / "main.py").samefile(b.folder / "main.py")


def test_two_versions_stay(slots):
    first = put(slots, A)
    put(slots, B)
    put(slots, C)
    assert not first.folder.exists()
    assert (slots.state("task").current, slots.state("task").last) == (C[0].digest, B[0].digest)


def test_a_version_that_never_worked_is_not_gone_back_to(slots):
    put(slots, A)
    put(slots, B, good=False)
    put(slots, C, good=False)
    assert slots.revert("task").manifest == A[0]
    assert slots.state("task").bad == (C[0].digest,)


def test_a_bad_version_is_not_installed_again(slots):
    put(slots, A)
    bad = put(slots, B, good=False)
    assert slots.revert("task").manifest == A[0]
    assert not bad.folder.exists()
    for attempt in (
        lambda: put(slots, B),
        lambda: slots.install(B[0]),
        lambda: slots.activate("task", B[0].digest),
    ):
        with pytest.raises(StoreError, match="was bad"):
            attempt()
    put(slots, C)
    slots.close()
    slots.open()
    with pytest.raises(StoreError, match="was bad"):
        put(slots, B)


def test_without_a_good_version_there_is_none(slots):
    put(slots, A, good=False)
    assert slots.revert("task") is None
    assert slots.tasks() == []
    assert slots.revert("task") is None


@pytest.mark.parametrize("file", ["main.py", "model/net.bin", "../manifest.json"])
@pytest.mark.parametrize("how", ["other", "empty", "missing", "link", "folder"])
def test_a_damaged_version_gives_way_to_the_last_good_one(slots, tmp_path, file, how):
    put(slots, A)
    path = put(slots, B).folder / file
    content = path.read_bytes()
    path.chmod(0o644)
    if how in {"other", "empty"}:
        path.write_bytes(content[:-1] + b"?" if how == "other" else b"")
    else:
        path.unlink()
        if how == "link":
            (tmp_path / "target").write_bytes(content + b"!" * (file == "../manifest.json"))
            path.symlink_to(tmp_path / "target")
        if how == "folder":
            path.mkdir()
    assert slots.load("task").manifest == A[0]
    assert slots.state("task").bad == ()  # the disk was bad, not the version
    assert put(slots, B).manifest == B[0]
    assert slots.load("task").manifest == B[0]


def test_a_damaged_file_that_versions_share_is_fetched_again(slots):
    put(slots, A)
    spoil(put(slots, B).folder / "model/words.txt")
    assert slots.load("task") is None
    put(slots, A)
    spoil(slots.load("task").folder / "model/words.txt")
    put(slots, B)  # notices by itself that it cannot use the file
    assert slots.load("task").manifest == B[0]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 300, b"00000000 {}\n", None])
@pytest.mark.parametrize("which", ["current", "copy"])
def test_one_damaged_state_file_changes_nothing(slots, which, content):
    put(slots, A)
    put(slots, B)
    put(slots, C, good=False)
    slots.revert("task")
    path = slots.root / "state" / f"task.{which}"
    path.unlink() if content is None else path.write_bytes(content)
    slots.close()
    slots.open()
    assert slots.load("task").manifest == B[0]
    assert slots.state("task").bad == (C[0].digest,)
    for name in ("current", "copy"):
        assert C[0].digest.encode() in (slots.root / "state" / f"task.{name}").read_bytes()


def test_without_both_state_files_the_newest_intact_version_is_current(slots):
    put(slots, A)
    newest = put(slots, B)
    for path in (slots.root / "state").iterdir():
        path.write_bytes(b"damaged")
    os.utime(newest.folder.parent, (time.time() + 60, time.time() + 60))
    assert slots.load("task").manifest == B[0]
    assert slots.state("task").last == A[0].digest
    for path in (slots.root / "state").iterdir():
        path.write_bytes(b"damaged")
    spoil(newest.folder / "main.py")
    assert slots.load("task").manifest == A[0]


def test_another_process_is_kept_out(slots):
    script = "import sys; from pathlib import Path; from walle_deploy.install.slots import Slots; Slots(Path(sys.argv[1])).open()"
    command = [sys.executable, "-c", script, slots.root]
    assert "another process" in subprocess.run(command, check=False, capture_output=True, text=True).stderr
    with pytest.raises(StoreError, match="another process"):
        Slots(slots.root).open()
    slots.close()
    assert subprocess.run(command, check=False).returncode == 0
    with pytest.raises(StoreError, match="not open"):
        slots.load("task")


def test_the_disk_is_bounded(tmp_path):
    with Slots(tmp_path / "root", max_bytes=300_000, disk=QuickDisk()) as slots:
        for what in (A, B, C, D):
            put(slots, what)
        (slots.downloads / ("e" * 64 + ".part")).write_bytes(bytes(120_000))  # gives way
        put(slots, A)
        assert slots._used() <= 300_000
        slots.max_bytes = 200_000
        with pytest.raises(StoreError, match="needs"):
            put(slots, B)
        assert slots.load("task").manifest == A[0]


def test_leftovers_are_cleared_at_the_start(slots):
    put(slots, A)
    (slots.root / "temp" / "half" / "built").mkdir(parents=True)
    old, young = slots.downloads / ("a" * 64), slots.downloads / ("b" * 64 + ".part")
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - KEEP_DOWNLOADS_S - 60,) * 2)
    slots.close()
    slots.open()
    assert not list((slots.root / "temp").iterdir())
    assert not old.exists()
    assert young.exists()


def test_a_disk_without_links_has_copies(tmp_path):
    class Plain(QuickDisk):
        def link(self, old, new):
            return False

    with Slots(tmp_path / "root", disk=Plain()) as slots:
        a, b = put(slots, A), put(slots, B)
        assert not (a.folder / "model/words.txt").samefile(b.folder / "model/words.txt")
        assert slots.load("task") == b


def test_tasks_are_apart(slots):
    put(slots, A)
    update(slots, *version(1, WEB, "other"), WEB)
    slots.revert("other")
    assert slots.load("task").manifest == A[0]
    with pytest.raises(StoreError, match="case"):
        update(slots, *version(1, WEB, "Task"), WEB)
    with pytest.raises(DeployError):
        slots.load("../task")
    slots.remove("task")
    assert slots.load("task") is None


def test_what_is_not_here_is_not_installed(slots):
    with pytest.raises(StoreError, match="fetch it"):
        slots.install(Manifest.of("task", "v", [File("a", "a" * 64, 1)]))
    assert not list((slots.root / "temp").iterdir())
    with pytest.raises(StoreError, match="not installed"):
        slots.activate("task", "a" * 64)


def test_a_disk_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be opened"):
        Slots(tmp_path / "file" / "below").open()


def test_a_folder_that_is_free_a_moment_later(tmp_path):
    """As after a kill: what the killed process was starting holds its files until it is another program."""
    first = Slots(tmp_path)
    first.open()
    threading.Timer(0.1, first.close).start()
    second = Slots(tmp_path)
    second.open(10)
    second.close()
