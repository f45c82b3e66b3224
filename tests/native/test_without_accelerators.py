"""Load, plan and run where NumPy and the C modules that do not load in every interpreter are missing."""

import json
import os
import subprocess
import sys

import pytest
import small_model

HEAD = """
import json, sys
for name in ("_datetime", "_decimal", "_hashlib", "_ssl", "_sqlite3", "_ctypes", "_asyncio", "numpy", "ml_dtypes"):
    sys.modules[name] = None
before = set(sys.modules)
def loaded():
    return sorted(n for n in set(sys.modules) - before if sys.modules[n] is not None)
"""

# bindings of drivers need what is missing here, and bring in more
NO_DRIVERS = {"WALLE_OPENCL_DEVICE": "none", "WALLE_VULKAN_DEVICE": "none"}

RUN = """
import array
import walle_core as walle
from walle_core import cost
def read(path):
    with open(path, "rb") as file:
        return array.array("f", file.read())
graph = walle.load(sys.argv[1])
x, expected = walle.Tensor.wrap(read(sys.argv[2]), "float32", eval(sys.argv[4])), read(sys.argv[3])
found = {name: devices for name, devices in walle.backends().items() if devices}
for name, devices in found.items():
    backend = walle.load_plugins().backends[name]
    cost.save_rates(f"{name} {backend.version} {devices[0].key} threads=2", cost.GUESS)  # nothing is measured here
worst = {}
for name in [*found, None]:
    (y,) = walle.Session(graph, backend=name).run({"x": x}).values()
    worst[str(name)] = max(abs(a - b) for a, b in zip(y.reshape(-1).tolist(), expected, strict=True))
print(json.dumps({"worst": worst, "failed": walle.load_plugins().failed, "loaded": loaded()}))
"""

# What load, plan and run must not bring in: slow, or without a form in pure Python.
HEAVY = {
    "asyncio",
    "click",
    "ctypes",
    "decimal",
    "logging",
    "multiprocessing",
    "rich",
    "sqlite3",
    "ssl",
    "unittest",
}
# What the import alone leaves to the first use besides.
LATER = HEAVY | {"attr", "datetime", "email", "hashlib", "importlib.metadata", "json", "pluggy", "tempfile"}


def run(code, *arguments, **environment):
    command = [sys.executable, "-P", "-c", HEAD + code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **NO_DRIVERS, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_load_plan_and_run(tmp_path):
    paths = small_model.write(tmp_path)
    report = run(RUN, *paths.values(), repr(small_model.SHAPE), WALLE_CACHE=str(tmp_path))
    assert not report["failed"]
    assert set(report["worst"]) >= {"portable", "None"}
    assert max(report["worst"].values()) < 1e-5
    assert not HEAVY.intersection(report["loaded"])


@pytest.mark.parametrize(
    ("statement", "absent"),
    [("import walle_core", LATER), ("from walle_core import Tensor", HEAVY | {"json", "pluggy", "email"})],
)
def test_import_is_clean(statement, absent):
    assert not absent.intersection(run(f"{statement}\nprint(json.dumps(loaded()))"))
