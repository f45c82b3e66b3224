"""A power cut, a full disk or a kill at any moment leaves the old or the new version."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from install_power import Cut, CuttingDisk, FullDisk, Memory, QuickDisk, version
from walle_deploy.errors import StoreError
from walle_deploy.install.slots import Slots
from walle_deploy.install.update import update

FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
SEEDS = range(12 if FULL else 2)
WEB = Memory()
A, B, C = (version(number, WEB) for number in range(3))


def begun(root, *versions):
    """A folder with versions that were installed one after the other, all good."""
    with Slots(root, disk=QuickDisk()) as slots:
        for manifest, sources in versions:
            update(slots, manifest, sources, WEB)
            slots.confirm("task")


def to_b(slots):
    update(slots, *B, WEB)


def to_c(slots):
    update(slots, *C, WEB)


def back(slots):
    assert slots.revert("task").manifest == A[0]


def gone(slots):
    slots.remove("task")


CASES = {
    "first": ((), to_b, None, B),
    "second": ((A,), to_b, A, B),
    "third": ((A, B), to_c, B, C),
    "revert": ((A, B), back, B, A),
    "remove": ((A, B), gone, B, None),
}


@pytest.mark.parametrize(("case", "links"), [*((case, True) for case in CASES), ("second", False)])
def test_a_cut_at_each_operation(tmp_path, case, links):
    before, act, old, new = CASES[case]
    begun(tmp_path / "start", *before) if before else (tmp_path / "start").mkdir()
    at, cuts = 1, 0
    while True:
        done = False
        for seed in SEEDS:
            root = tmp_path / "root"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(tmp_path / "start", root)
            disk = CuttingDisk(tmp_path / "attic", at, seed, links)
            slots = Slots(root, disk=disk)
            try:
                slots.open()
                act(slots)
                done = True
            except Cut:
                cuts += 1
            finally:
                slots.close()
            disk.settle()
            shutil.rmtree(tmp_path / "attic")
            check(root, old, new, done)
        if done:
            break
        at += 1
    assert cuts >= 10 * len(SEEDS)


def check(root, old, new, done):
    with Slots(root, disk=QuickDisk()) as slots:
        found = slots.load("task")
        allowed = [new] if done else [old, new]
        assert (found and found.manifest) in [version and version[0] for version in allowed]
        assert not list((root / "temp").iterdir())
        if new is A and done:
            assert B[0].digest in slots.state("task").bad
        update(slots, *C, WEB)  # it goes on
        assert slots.load("task").manifest == C[0]


def test_a_disk_that_is_full_at_each_write(tmp_path):
    begun(tmp_path / "start", A)
    for at in range(1, 1000):
        root = tmp_path / "root"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(tmp_path / "start", root)
        disk = FullDisk(at)
        with Slots(root, disk=disk) as slots:
            try:
                update(slots, *B, WEB)
                break
            except StoreError as error:
                assert "No space" in str(error)
            assert slots.load("task").manifest == A[0]
            disk.left = 1000
            update(slots, *B, WEB)
            assert slots.load("task").manifest == B[0]
    assert 5 < at < 100


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_small_disk(tmp_path):
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip(f"cannot mount: {mount.stderr.decode().strip()}")
    try:
        begun(tmp_path / "root", A, B)
        ballast = tmp_path / "ballast"
        with ballast.open("wb") as file:
            for _ in range(100):
                try:
                    file.write(bytes(4096))
                    file.flush()
                except OSError:
                    break
            os.truncate(ballast, max(0, ballast.stat().st_size - 48 * 1024))  # less than a version needs
        with Slots(tmp_path / "root") as slots:
            with pytest.raises(StoreError, match="No space"):
                update(slots, *C, WEB)
            assert slots.load("task").manifest == B[0]
            ballast.unlink()
            update(slots, *C, WEB)
            assert slots.load("task").manifest == C[0]
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_killed_at_random_moments(tmp_path):
    kills = "1000" if FULL else "60"
    script = Path(__file__).with_name("install_kills.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "root", kills], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills" in done.stdout
