"""Whatever happens to the cache directory, rates are measured, results are right, and one warning says so at most."""

import errno
import json
import os
import tempfile
import warnings

import numpy as np
import pytest
from seeds import model, some

import walle_core as walle
from walle_core import cache, cost
from walle_core.types import Device, DeviceRates

RATES = DeviceRates({"gemm": 2e9, "elementwise": 1e8}, ((2.0**20, 1e10), (float("inf"), 1e9)), 1e-6, 0.0)
DEVICE = Device("toy", "toy-0")


class Backend:
    """Counts how often it is measured."""

    name, version = "toy", "1"

    def __init__(self):
        self.measured = 0

    def calibrate(self, device, threads, progress):
        del device, threads, progress
        self.measured += 1
        return RATES


KEY = cost.rates_key(Backend(), DEVICE, 1)


@pytest.fixture(autouse=True)
def fresh(uncalibrated):
    """Every test begins as a new process does."""
    del uncalibrated


def measured(monkeypatch):
    """(times that a backend was measured, warnings) by a process that asks for its rates twice."""
    backend = Backend()
    monkeypatch.setattr(cost, "_measured", {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            assert cost.rates_of(backend, DEVICE) == RATES
        cost.rates_of(backend, Device("other", "toy-1"))
    return backend.measured - 1, [str(w.message) for w in caught]


def kept(tmp_path):
    """The file of the toy device."""
    cost.save_rates(KEY, RATES)
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_rates_are_kept(monkeypatch):
    assert measured(monkeypatch) == (1, [])
    backend = Backend()
    monkeypatch.setattr(cost, "_measured", {})
    assert cost.rates_of(backend, DEVICE) == RATES
    assert backend.measured == 0


GOOD = {"key": KEY, "ops_per_s": {"gemm": 1e9}, "bytes_per_s": [[1e9, 1e9]], "dispatch_s": 1e-6, "call_s": 0.0,
        "transfer_bytes_per_s": float("inf")}  # fmt: skip
CONTENTS = {
    "empty": "",
    "garbage": "\x00\xff{{{",
    "truncated": json.dumps(GOOD)[:-20],
    "another device": json.dumps(GOOD | {"key": KEY.replace("toy-0", "toy-9")}),
    "a list": "[1, 2]",
    "a number": "17",
    "nothing": "null",
    "deeply nested": "[" * 200_000,
    "no rates": json.dumps(GOOD | {"ops_per_s": {}}),
    "no levels": json.dumps(GOOD | {"bytes_per_s": []}),
    "missing key": json.dumps({k: v for k, v in GOOD.items() if k != "call_s"}),
    **{
        f"{field} {name}": json.dumps(GOOD | {field: {"gemm": value} if field == "ops_per_s" else value})
        for field in ("ops_per_s", "dispatch_s", "call_s")
        for name, value in {
            "NaN": float("nan"), "negative": -1.0, "infinite": float("inf"), "huge": 10**400, "text": "1e9", "list": [1e9],
            "true": True, "null": None, "mapping": {},
        }.items()
    },
    **{
        f"level {value}": json.dumps(GOOD | {"bytes_per_s": value})
        for value in ([[1]], [[1, 2, 3]], [1, 2], [["a", "b"]], {"a": 1}, [[1e9, -1]], [[1e9, float("nan")]], "ab")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_damaged_rates_are_measured_again(name, tmp_path, monkeypatch):
    path = kept(tmp_path)
    path.write_bytes(CONTENTS[name].encode("latin-1"))
    assert measured(monkeypatch) == (1, [])
    assert cost.load_rates(KEY) == RATES  # and mended


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path)


def endless(path):
    path.symlink_to("/dev/zero")


def large(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [folder, pipe, loop, endless, large], ids=lambda f: f.__name__)
def test_something_else_in_place_of_the_file(make, tmp_path, monkeypatch):
    path = kept(tmp_path)
    path.unlink()
    make(path)
    count, said = measured(monkeypatch)
    assert count == 1
    assert len(said) == (make is folder)
    assert all("WALLE_CACHE" in s for s in said)
    assert not list(path.parent.glob("*.tmp"))


@pytest.mark.parametrize("place", ["below a file", "a file", "in /proc", "a loop", "a dangling link"])
def test_directories_that_cannot_be_written(place, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("/proc/nowhere/at/all")
    path = {"below a file": file / "cache", "a file": file, "in /proc": "/proc/walle", "a loop": tmp_path / "loop" / "x",
            "a dangling link": tmp_path / "dangling"}[place]  # fmt: skip
    monkeypatch.setenv("WALLE_CACHE", str(path))
    count, said = measured(monkeypatch)
    assert count == 1
    assert len(said) == 1
    assert str(path) in said[0]
    assert "writable" in said[0]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("where", ["mkstemp", "write", "replace"])
def test_full_and_read_only(code, where, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    target, name = {"mkstemp": (tempfile, "mkstemp"), "write": (os, "fdopen"), "replace": (os, "replace")}[
        where
    ]
    monkeypatch.setattr(target, name, fail)
    count, said = measured(monkeypatch)
    assert count == 1
    assert len(said) == 1
    assert os.strerror(code) in said[0]
    folder = tmp_path / "cache"
    assert not folder.exists() or not list(folder.iterdir())


def test_a_user_without_a_home(monkeypatch):
    monkeypatch.delenv("WALLE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache.cache_folder().name == "walle"

    def nowhere():
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)  # as in a process that may write to no folder
    with pytest.raises(OSError):
        cache.write_atomically(cache.cache_folder() / "file", [b"kept"])


def test_a_session_over_a_broken_cache(tmp_path):
    """From end to end: the search runs, and its result is the reference's."""
    (tmp_path / "cache").write_text("a file")
    from onnx import helper

    data = model([helper.make_node("Softmax", ["x"], ["y"], axis=1)], {"x": some(2, 5)}, ["y"])
    graph, x = walle.load_bytes(data), some(2, 5)
    with pytest.warns(UserWarning, match="WALLE_CACHE") as said:
        found = walle.Session(graph).run([x])
    assert len(said) == 1
    expected = walle.Session(graph, backend="reference").run([x])
    np.testing.assert_allclose(np.asarray(found["y"]), np.asarray(expected["y"]), rtol=1e-5)
