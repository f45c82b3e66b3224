"""The Metal shading language that the writer makes, judged by clang: address spaces, races, barriers, memory beyond buffers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import metal_cpu
import numpy as np
import pytest
from walle_backend_metal.writer import metal_program

from walle_core.backends.device.contract import Built
from walle_core.backends.device.source import FOLDER, kernels

HERE = Path(__file__).parent
REQUIRED = os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}
if metal_cpu.clang() is None:
    if REQUIRED:
        pytest.fail("clang++ is not found, but WALLE_REQUIRE_DEVICES is set", pytrace=False)
    pytest.skip("clang++ is not found (Debian: clang)", allow_module_level=True)

# of the language that C++ does not have; kernels must not use them as names
KEYWORDS = {
    "bfloat",
    "bool",
    "constant",
    "device",
    "fragment",
    "half",
    "imageblock",
    "kernel",
    "mesh",
    "metal",
    "object",
    "patch",
    "ray_data",
    "sampler",
    "texture",
    "thread",
    "threadgroup",
    "threadgroup_imageblock",
    "tile",
    "uchar",
    "uint",
    "ulong",
    "ushort",
    "vec",
    "vertex",
    "visible",
}


def programs() -> list[tuple[str, str]]:
    """(name, source) of all kernels, at both widths, with every choice of their element types."""
    made = []
    for source in kernels().values():
        most = max((len(choices) for key, choices in source.variants.items() if key != "W"), default=1)
        builts = []
        for i in range(most):
            chosen = {
                key: choices[i % len(choices)] for key, choices in source.variants.items() if key != "W"
            }
            for width in sorted({"1", "4"} & {*source.variants["W"]}) if "W" in source.variants else [None]:
                builts.append(source.build({**chosen, **({"W": width} if width else {})}, {}, (64, 1, 1)))
        for width in sorted({dict(b.variants).get("W", "1") for b in builts}):
            group: list[Built] = [b for b in builts if dict(b.variants).get("W", "1") == width]
            made.append((f"{source.name}-{width}", metal_program(group)))
    return made


def in_opencl(source: str) -> subprocess.CompletedProcess[str]:
    """Clang's opinion of the address spaces: kernels of OpenCL C++, which take pointers in place of references."""
    text = re.sub(r"\[\[kernel[^\]]*\]\]", "__kernel", source)
    for name in set(re.findall(r"constant \w+& (\w+)", text)):
        text = re.sub(rf"(constant \w+)& {name}\b", rf"\1* {name}_pointer", text)
        text = re.sub(rf"\b{name}\b", f"(*{name}_pointer)", text)
    text = re.sub(r"\[\[\s*\w+\s*(\(\d+\))?\s*\]\]", "", text)
    flags = [
        "-x",
        "cl",
        "-cl-std=clc++2021",
        "-target",
        "spir64",
        "-fsyntax-only",
        f"-I{HERE / 'spaces'}",
        "-w",
    ]
    command = [str(metal_cpu.clang()), *flags, "-Xclang", "-finclude-default-header", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "source"), programs(), ids=[name for name, _ in programs()])
def test_address_spaces_are_kept(name: str, source: str) -> None:
    done = in_opencl(source)
    assert done.returncode == 0, done.stderr[:3000]


HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"


@pytest.mark.parametrize(
    "line",
    [
        "device float* p = tile; p[0] = 1;",
        "threadgroup float* p = a; p[0] = 1;",
        "n = 2;",
        "c[0] = 1;",
    ],
    ids=[
        "group memory as device",
        "device memory as group",
        "a constant is written",
        "a const buffer is written",
    ],
)
def test_the_check_of_address_spaces_finds(line: str) -> None:
    kernel = (
        "[[kernel]] void k(device float* a [[buffer(0)]], device const float* c [[buffer(1)]],\n"
        f"  constant int& n [[buffer(2)]]) {{ threadgroup float tile[4]; tile[0] = n; a[0] = tile[0] + c[0]; {line} }}\n"
    )
    assert in_opencl(HEAD + kernel.replace(line, "")).returncode == 0
    assert in_opencl(HEAD + kernel).returncode != 0


def test_no_name_is_a_keyword() -> None:
    for path in FOLDER.glob("*.k"):
        text = re.sub(r"//[^\n]*", "", path.read_text())
        text = re.sub(r"(?m)^kernel \w+$", "", text)
        found = {word for word in re.findall(r"[A-Za-z_]\w*", text) if word in KEYWORDS - {"bool"}}
        assert not found, path


TILED = """
[[kernel]] void reversed(device const float* a [[buffer(0)]], device float* out [[buffer(1)]],
    uint t [[thread_index_in_threadgroup]], uint group [[threadgroup_position_in_grid]]) {
  threadgroup float tile[64];
  tile[t] = a[group * 64 + t];
  BARRIER_HERE
  out[group * 64 + t] = tile[63 - t];
}
"""


def reversed_groups(barrier: str, seed: int) -> bool:
    source = HEAD + TILED.replace("BARRIER_HERE", barrier)
    a, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    where = {0: a.ctypes.data, 1: out.ctypes.data}
    metal_cpu.compile_metal(source).run("reversed", where, (4, 1, 1), (64, 1, 1), seed)
    return bool((out == a.reshape(4, 64)[:, ::-1].ravel()).all())


WAIT = "threadgroup_barrier(mem_flags::mem_threadgroup);"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_group_memory_and_barriers(seed: int) -> None:
    assert reversed_groups(WAIT, seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_missing_barrier_is_seen(seed: int) -> None:
    assert not reversed_groups("", seed)


def test_a_barrier_that_some_threads_pass_by_is_seen() -> None:
    with pytest.raises(RuntimeError, match=r"3 threads wait at a barrier .*61 have finished"):
        reversed_groups(f"if (t >= 3) return;\n{WAIT}", 0)


OUTSIDE = """
import ctypes, numpy as np, metal_cpu
source = '''#include <metal_stdlib>
using namespace metal;
[[kernel]] void over(device float* a [[buffer(0)]], uint i [[thread_position_in_grid]]) { a[i] = 1; }
'''
a = np.zeros(100000, np.float32)
built = metal_cpu.compile_metal(source, sanitize=True)
built.run("over", {0: a.ctypes.data}, (1000, 1, 1), (100, 1, 1))
print("inside", flush=True)
built.run("over", {0: a.ctypes.data}, (1001, 1, 1), (100, 1, 1))
print("not seen")
"""


def sanitized(code: str, *paths: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Python with the address sanitizer in the process."""
    asked = [str(metal_cpu.clang()), "-print-file-name=libclang_rt.asan-x86_64.so"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    path = os.pathsep.join([str(HERE), *map(str, paths), os.environ.get("PYTHONPATH", "")])
    preload = {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **preload, **env}, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip


def test_a_write_beyond_a_buffer_is_seen() -> None:
    done = sanitized(OUTSIDE)
    assert "inside" in done.stdout
    assert "not seen" not in done.stdout
    assert "heap-buffer-overflow" in done.stderr


def test_every_choice_is_compiled(tmp_path: Path) -> None:
    """All kernels through the compiler that runs them, which has other rules than OpenCL's."""
    wide: Any = [source for name, source in programs() if name.endswith("-4")]
    for source in wide:
        metal_cpu.compile_metal(source)
