"""What a task's imports bring in, counted: nothing that takes longer to load than it is worth there."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from walle_core import cv, types
from walle_core.cli.vm import LIMITS, command
from walle_core.dtypes import DTYPES, DType

ROOT = str(Path(types.__file__).parents[1])


@pytest.fixture(scope="module")
def size():
    return json.loads(CliRunner().invoke(command, ["size", "--json"], catch_exceptions=False).output)


def test_the_import_of_a_tasks_side_stays_within_its_limits(size):
    assert size["limits"] == LIMITS
    for name in ("modules", "files_mb", "memory_mb"):  # not the time
        assert 0 < size["taken"][name] <= LIMITS[name], name


def test_heavy_modules_are_not_among_them(size):
    assert set(size["modules"]) == {"standard library", "walle_core"}
    heavy = {
        "ast",
        "dis",
        "email",
        "importlib.metadata",
        "inspect",
        "json",
        "logging",
        "pathlib",
        "platform",
        "subprocess",
    }
    assert not heavy & {*size["modules"]["standard library"]}
    unused = {
        "walle_core._native.program",
        "walle_core.plugins",
        "walle_core.types",
        "walle_core.graph",
        "walle_core.ops",
    }
    assert not unused & {*size["modules"]["walle_core"]}


def test_pictures_need_neither_attrs_nor_other_heavy_modules():
    code = "import sys, walle_core.cv as cv; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "walle_core.cv.filters" in loaded
    assert not loaded & {
        "attr",
        "attrs",
        "dataclasses",
        "inspect",
        "numpy",
        "pathlib",
        "walle_core.types",
        "walle_core.cv.preprocess",
    }
    assert "Preprocess" in dir(cv) and cv.Preprocess((4, 4)).size == (4, 4)
    with pytest.raises(AttributeError, match=r"walle_core\.cv"):
        _ = cv.preprocesses


def test_compiled_modules_have_no_debug_info():
    import walle_core._native.tensor as tensor

    with open(tensor.__file__, "rb") as file:
        assert b".debug_info" not in file.read()


def test_dtypes_are_one_object_each_and_do_not_change():
    assert types.DTYPES is DTYPES
    for dtype in DTYPES.values():
        assert copy.copy(dtype) is copy.deepcopy(dtype) is pickle.loads(pickle.dumps(dtype)) is dtype
        assert str(dtype) == dtype.name in repr(dtype)
        with pytest.raises(AttributeError, match=f"dtype {dtype.name} cannot be changed"):
            dtype.name = "other"
        with pytest.raises(AttributeError):
            del dtype.kind
    assert DType("float32", 4, "f", "f", 32) != DTYPES["float32"]
