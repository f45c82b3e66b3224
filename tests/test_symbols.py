"""ISA objects export one symbol each: two copies of the same inline function would be one function to the linker."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
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


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Objects by ISA, two compiled at a time."""
    compiler, folder = shutil.which("c++") or shutil.which("g++"), tmp_path_factory.mktemp("objects")
    assert compiler, "a C++ compiler is needed to build walle, and for this test"

    def compiled(isa: str, source: Path, flags: list[str]) -> Path:
        includes = ["-I", str(ROOT / "walle_core/include"), "-I", str(source.parent)]
        target = folder / f"isa_{isa}.o"
        subprocess.run(
            [compiler, *FLAGS, *flags, *includes, "-c", str(source), "-o", str(target)], check=True
        )
        return target

    with ThreadPoolExecutor(2) as pool:
        made = {row[0]: pool.submit(compiled, *row) for row in sources()}
    return {isa: future.result() for isa, future in made.items()}


@pytest.mark.parametrize("isa", [s[0] for s in sources()])
def test_isa_object_exports_one_symbol(isa: str, objects: dict[str, Path]) -> None:
    nm = shutil.which("nm")
    assert nm, "nm (binutils) is needed"
    listed = subprocess.run(
        [nm, "--defined-only", "--extern-only", str(objects[isa])], check=True, capture_output=True, text=True
    )
    symbols = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert symbols == [f"walle_kernels_{isa}"]


def units_of_one_instruction_set() -> list[Path]:
    """Sources that are compiled for one instruction set beside others in the same process."""
    levels = [path for path in (ROOT / "walle_core").rglob("*.cpp") if re.search(r"_(base|v\d)$", path.stem)]
    return [
        *levels,
        *(path for _, path, _ in sources()),
        *(ROOT / "plugins").glob("backend_*/src/*/csrc/isa_*.cpp"),
    ]


def included_by(unit: Path) -> dict[Path, list[str]]:
    """The unit and every header of ours that it takes in -> the other headers that these include."""
    found: dict[Path, list[str]] = {}
    waiting = [unit]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        text = path.read_text()
        found[path] = re.findall(r"^\s*#\s*include\s*(<[^>]+>)", text, re.MULTILINE)
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
            places = (ROOT / "walle_core/include" / name, path.parent / name)
            waiting += [place.resolve() for place in places if place.is_file()]
    return found


@pytest.mark.parametrize("unit", units_of_one_instruction_set(), ids=lambda path: path.stem)
def test_units_include_nothing_that_brings_templates(unit: Path) -> None:
    allowed = re.compile(
        r"<(cstddef|cstdint|cmath|cstring|immintrin\.h|arm_neon\.h|stddef\.h|stdint\.h|stdlib\.h|string\.h)>"
    )
    for path, others in included_by(unit).items():
        assert not [other for other in others if not allowed.fullmatch(other)], path


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
