"""Kernel tables for instructions that this processor lacks, run on SIMDe's definitions of Intel's intrinsics.

An `isa_*.cpp` of the plugin is compiled unchanged, but with tests/emulation/include before the compiler's own headers: its
`immintrin.h` names SIMDe's functions. The library is kept in build/emulation until a source changes.
"""

import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import walle_backend_avx
from walle_backend_avx import _tables

ROOT = Path(__file__).resolve().parents[1]
INCLUDE = Path(__file__).parent / "emulation/include"
CSRC = ROOT / "plugins/backend_avx/src/walle_backend_avx/csrc"
CORE = ROOT / "walle_core/include"
FLAGS = ["-std=c++17", "-O1", "-w", "-mavx2", "-mfma", "-mf16c", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-shared"]  # fmt: skip
SIMDE = Path("/usr/include/simde/x86/avx512.h")


def missing():
    """Why nothing can be emulated here; "" if it can."""
    if not SIMDE.is_file():
        return "skipped: SIMDe is not installed (apt-get install libsimde-dev)"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    absent = {"avx2", "fma", "f16c"} - flags
    return f"skipped: this processor has no {', '.join(sorted(absent))} to emulate with" if absent else ""


def needed():
    """Skips where nothing can be emulated; fails there if devices are required, as in continuous integration."""
    why = missing()
    if why and os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
        pytest.fail(why)
    if why:
        pytest.skip(why)


@functools.cache
def library(source, *flags):
    """A shared library of one source, emulated."""
    needed()
    source = Path(source)
    headers = sorted(p for root in (INCLUDE, CSRC, CORE) for p in root.rglob("*.h*"))
    digest = hashlib.sha256(repr((FLAGS, flags)).encode())
    for path in (source, *headers):
        digest.update(path.read_bytes())
    target = ROOT / f"build/emulation/{source.stem}-{digest.hexdigest()[:16]}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f"{source.stem}-*.so"):
            old.unlink()
        compiler = shlex.split(os.environ.get("CXX", "")) or [shutil.which("c++") or "g++"]
        made = target.with_suffix(f".{os.getpid()}")
        includes = [f"-I{folder}" for folder in (INCLUDE, CSRC, CORE)]
        subprocess.run([*compiler, *FLAGS, *flags, *includes, str(source), "-o", str(made)], check=True)
        made.replace(target)
    return ctypes.CDLL(str(target))


@functools.cache
def table(isa):
    """Capsule of the plugin's table for one ISA, emulated; that of AVX2 as it is."""
    if isa == "avx2":
        needed()
        return walle_backend_avx.tables(isa)[0]
    symbol = ctypes.c_char.in_dll(library(CSRC / f"isa_{isa}.cpp"), f"walle_kernels_{isa}")
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return make(ctypes.addressof(symbol), b"walle.kernel_table", None)


def tables(isa):
    """Capsules of an ISA's own table and of those that it extends."""
    behind = _tables.extends()
    return [table(isa), *(tables(behind[isa]) if isa in behind else [])]
