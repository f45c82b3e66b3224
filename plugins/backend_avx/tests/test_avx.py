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

from walle_core._native import load_table, scalar_table
from walle_core.errors import PluginError
from walle_core.plugins import load_plugins

X86 = platform.machine().lower() in {"x86_64", "amd64"}
AVX512 = ("avx512f", "avx512dq", "avx512bw", "avx512vl")
FEATURES = {  # as Linux names them
    "avx512bf16": (*AVX512, "avx512_vnni", "avx512_bf16"), "avx512vnni": (*AVX512, "avx512_vnni"), "avx512": AVX512,
    "avxvnni": ("avx_vnni",), "avx2": ("avx2", "fma", "f16c"),
}  # fmt: skip
CHAINS = {
    "scalar": ["scalar"], "avx2": ["avx2"], "avxvnni": ["avxvnni", "avx2"], "avx512": ["avx512"],
    "avx512vnni": ["avx512vnni", "avx512"], "avx512bf16": ["avx512bf16", "avx512vnni", "avx512"],
}  # fmt: skip
LANES = {"scalar": 1, "avx2": 8, "avxvnni": 8, "avx512": 16, "avx512vnni": 16, "avx512bf16": 16}


def cpu_flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.split()}


def test_build_holds_the_isas_of_this_architecture() -> None:
    assert _tables.compiled() == (list(FEATURES) if X86 else [])
    assert all([isa, *CHAINS[base]] == CHAINS[isa] for isa, base in _tables.extends().items())


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the oracle is /proc/cpuinfo")
def test_probe_agrees_with_the_operating_system() -> None:
    flags = cpu_flags()
    expected = [isa for isa in _tables.compiled() if flags.issuperset({*FEATURES[isa], *FEATURES["avx2"]})]
    assert list(_tables.usable()) == expected


def test_the_best_isa_is_taken_with_what_it_extends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WALLE_ISA", raising=False)
    kernels = [load_table(capsule) for capsule in walle_backend_avx.tables()]
    best = walle_backend_avx.usable()[:1]
    assert [rows[0].isa for rows in kernels] == (CHAINS[best[0]] if best else [])
    portable = {(k.family, k.op, k.dtype) for k in load_table(scalar_table())}
    assert not kernels or {(k.family, k.op, k.dtype) for k in kernels[-1]} == portable


@pytest.mark.parametrize("isa", ["scalar", *_tables.usable()])
def test_isa_can_be_forced(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    monkeypatch.setenv("WALLE_ISA", isa)
    tables = [load_table(capsule) for capsule in walle_backend_avx.tables()]
    assert [{(k.isa, k.lanes) for k in rows} for rows in tables] == [{(n, LANES[isa])} for n in CHAINS[isa]]


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
