"""Where large arrays get their kernels from: declared tables, found without loading all plugins."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import walle_core as walle

USE = """
import json, sys
from walle_core import matrix as xp
assert xp.sum(xp.ones(100)) == 100
early = sorted(sys.modules)
x = xp.astype(xp.linspace(0, 1, 5000), xp.float32)
y = xp.exp(x) @ x
from walle_core.matrix.tables import kernels
found = kernels()
print(json.dumps({"early": early, "late": sorted(sys.modules), "isa": found and found.isa, "y": float(y)}))
"""
DECLARED = {e.value.partition(":")[0] for e in entry_points(group="walle.kernels")}
PLUGINS = {e.value for e in entry_points(group="walle")}


def run(**variables):
    done = subprocess.run(
        [sys.executable, "-c", USE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def widest():
    backends = walle.load_plugins().backends.values()
    return max((b.kernels for b in backends if hasattr(b, "kernels")), key=lambda k: k.lanes)


def test_only_plugins_with_tables_are_imported_and_only_for_large_arrays():
    report = run()
    assert not PLUGINS & {*report["early"]}
    assert PLUGINS & {*report["late"]} == DECLARED
    assert not {"walle_core.plugins", "importlib.metadata", "attr"} & {*report["late"]}
    assert report["isa"] == widest().isa


def test_blocked_plugins_and_chosen_instructions_are_respected():
    blocked = run(WALLE_PLUGINS_BLOCK=",".join(e.name for e in entry_points(group="walle.kernels")))
    assert blocked["isa"] is None
    assert not PLUGINS & {*blocked["late"]}
    scalar = run(WALLE_ISA="scalar")
    assert scalar["isa"] in {"scalar", None}
    assert blocked["y"] == pytest.approx(scalar["y"], rel=1e-5) == pytest.approx(run()["y"], rel=1e-5)


def test_tables_that_are_broken_cost_nothing_unless_that_is_asked_for(tmp_path, monkeypatch):
    from walle_core import installed
    from walle_core.errors import PluginError
    from walle_core.matrix import tables

    folder = tmp_path / "toy_tables-1.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text(
        "[walle.kernels]\ntoy = toy_tables:tables\nother = toy_tables:none\n"
    )
    (tmp_path / "toy_tables.py").write_text("def tables(): return [object()]\ndef none(): return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert {e.name for e in installed.entry_points(tables.GROUP)} > {"toy", "other"}
    assert tables.Kernels(tables._widest()).isa == widest().isa
    monkeypatch.setenv("WALLE_STRICT_PLUGINS", "1")
    with pytest.raises(
        PluginError, match=r"kernel tables of 'toy' \(toy_tables:tables\): a kernel table must be a capsule"
    ):
        tables._widest()


def test_tables_are_kept_for_all_interpreters_of_a_process():
    from walle_core._native.program import load_table, scalar_table, share_tables, shared_tables

    assert shared_tables(b"a key that nobody has") is None
    share_tables(b"test", [scalar_table(), scalar_table()])
    one, two = shared_tables(b"test")
    assert [r.address for r in load_table(one)] == [r.address for r in load_table(scalar_table())]
    assert len(load_table(two)) == len(load_table(one))
    share_tables(b"test", [])
    assert shared_tables(b"test") == []
