"""What the conformance kit cannot know: which ISA was picked, and that one can be forced."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import walle_backend_avx
from walle_backend_avx import _tables

from walle_core._native import load_table
from walle_core.errors import PluginError
from walle_core.plugins import load_plugins

X86 = platform.machine().lower() in {"x86_64", "amd64"}
FEATURES = {"avx2": ("avx2", "fma", "f16c"), "avx512": ("avx512f", "avx512dq", "avx512bw", "avx512vl")}
LANES = {"scalar": 1, "avx2": 8, "avx512": 16}


def cpu_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def test_build_holds_the_isas_of_this_architecture() -> None:
    assert _tables.compiled() == (["avx512", "avx2"] if X86 else [])


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the oracle is /proc/cpuinfo")
def test_probe_agrees_with_the_operating_system() -> None:
    flags = cpu_flags()
    expected = [isa for isa in _tables.compiled() if flags.issuperset({*FEATURES[isa], *FEATURES["avx2"]})]
    assert list(_tables.usable()) == expected


def test_tables_are_best_first_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WALLE_ISA", raising=False)
    kernels = [load_table(capsule) for capsule in walle_backend_avx.tables()]
    assert [rows[0].isa for rows in kernels] == list(_tables.usable())
    assert len({frozenset((k.family, k.op, k.dtype) for k in rows) for rows in kernels}) <= 1


@pytest.mark.parametrize("isa", ["scalar", *_tables.usable()])
def test_isa_can_be_forced(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    monkeypatch.setenv("WALLE_ISA", isa)
    (rows,) = (load_table(capsule) for capsule in walle_backend_avx.tables())
    assert {(k.isa, k.lanes) for k in rows} == {(isa, LANES[isa])}


def test_unknown_isa_is_refused_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLE_ISA", "avx1024")
    with pytest.raises(PluginError, match=r"WALLE_ISA=avx1024: there is no such ISA.*scalar"):
        walle_backend_avx.tables()


def test_plugin_is_discovered_and_offers_what_the_machine_can_run() -> None:
    found = load_plugins()
    assert found.report["avx"].error == ""
    assert ("avx" in found.backends) == bool(_tables.usable())


def test_importing_the_plugin_loads_no_kernel() -> None:
    code = "import sys, walle_backend_avx; sys.exit('walle_backend_avx._tables' in sys.modules)"
    env = {k: v for k, v in os.environ.items() if k != "WALLE_ISA"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
