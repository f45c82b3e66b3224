"""ISA objects export one symbol each: two copies of the same inline function would be one function to the linker."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AVX = ROOT / "plugins/backend_avx"
X86 = platform.machine().lower() in {"x86_64", "amd64"}
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-O1", "-w"]


def sources() -> list[tuple[str, Path, list[str]]]:
    found = [("scalar", ROOT / "walle_core/_native/isa_scalar.cpp", [])]
    if X86:
        text = (AVX / "setup.py").read_text()
        table = re.search(r"^ISA_FEATURES = (\{.*?^\})", text, re.MULTILINE | re.DOTALL)
        assert table
        for isa, features in eval(table.group(1)).items():
            path = AVX / f"src/walle_backend_avx/csrc/isa_{isa}.cpp"
            found.append((isa, path, [f"-m{feature}" for feature in features]))
    return found


@pytest.mark.parametrize(("isa", "source", "flags"), sources(), ids=[s[0] for s in sources()])
def test_isa_object_exports_one_symbol(isa: str, source: Path, flags: list[str], tmp_path: Path) -> None:
    compiler, nm = shutil.which("c++") or shutil.which("g++"), shutil.which("nm")
    assert compiler, "a C++ compiler is needed to build walle, and for this test"
    assert nm, "nm (binutils) is needed"
    target = tmp_path / f"isa_{isa}.o"
    includes = ["-I", str(ROOT / "walle_core/include"), "-I", str(source.parent)]
    subprocess.run([compiler, *FLAGS, *flags, *includes, "-c", str(source), "-o", str(target)], check=True)
    listed = subprocess.run(
        [nm, "--defined-only", "--extern-only", str(target)], check=True, capture_output=True, text=True
    )
    symbols = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert symbols == [f"walle_kernels_{isa}"]


def test_headers_include_nothing_that_brings_templates() -> None:
    allowed = re.compile(r"<(cstddef|cstdint|cmath|cstring|immintrin\.h|arm_neon\.h|stddef\.h|stdint\.h)>")
    folders = [ROOT / "walle_core/include", *(ROOT / "plugins").glob("backend_*/src/*/csrc")]
    for path in [p for folder in folders for p in folder.rglob("*.h*")]:
        for included in re.findall(r"^\s*#\s*include\s*(<[^>]+>)", path.read_text(), re.MULTILINE):
            assert allowed.fullmatch(included), f"{path} includes {included}"


def test_compiled_module_exports_only_its_entry() -> None:
    spec = importlib.util.find_spec("walle_core._native.program")
    assert spec and spec.origin
    nm = shutil.which("nm")
    assert nm
    listed = subprocess.run(
        [nm, "-D", "--defined-only", spec.origin], check=True, capture_output=True, text=True
    )
    symbols = {line.split()[-1] for line in listed.stdout.splitlines() if line.split()[-2] not in "wVu"}
    assert symbols == {"PyInit_program", "walle_kernels_scalar"}
