"""The engines under test, by name; processes that the tests of storage start."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from walle_pipeline.store.contract import MIN_BYTES
from walle_pipeline.store.lmdb import LmdbEngine
from walle_pipeline.store.sqlite import SqliteEngine

FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
NAMES = ("sqlite", "lmdb")


def make(name: str, folder: Path | str, max_bytes: int = MIN_BYTES, **options):
    """An engine on files in `folder`. Skips where LMDB is not installed."""
    if name == "sqlite":
        return SqliteEngine(Path(folder) / "store.db", max_bytes, **options)
    if importlib.util.find_spec("lmdb") is None:
        if os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
            pytest.fail("lmdb is not installed")
        pytest.skip("lmdb is not installed")
    return LmdbEngine(Path(folder) / "store", max_bytes, **options)


def file_of(engine) -> Path:
    """The file that holds the rows."""
    return engine.path if engine.name == "sqlite" else engine.path / "data.mdb"


def spoil(path: Path, how: str) -> None:
    """Damages a file: its ``head``, its ``middle``, or makes it ``short``."""
    size = path.stat().st_size
    if how == "short":
        os.truncate(path, size * 3 // 4)
        return
    at = {"head": 0, "middle": size // 2}[how]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(random.Random(1).randbytes(16384))


def python(code: str, *arguments: str, **options) -> subprocess.Popen:
    """A Python process with the same import path."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )
