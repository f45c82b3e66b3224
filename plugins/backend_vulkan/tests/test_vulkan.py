"""What the conformance kit cannot know: modules, submissions, validation, caches, forks, leaks, absent drivers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import walle_backend_vulkan

import walle_core as walle
from walle_core.errors import BackendError
from walle_core.graph.builder import Builder

REQUIRED = os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}
OPENED = walle_backend_vulkan.open_device()
if OPENED is None and REQUIRED:
    pytest.fail("no Vulkan device, but WALLE_REQUIRE_DEVICES is set", pytrace=False)
needs_device = pytest.mark.skipif(OPENED is None, reason="this machine has no Vulkan device")
TOOLS = [tool for tool in ("glslc", "spirv-opt", "spirv-val") if shutil.which(tool) is None]


def small_graph(size: int = 40) -> Any:
    g = Builder()
    x = g.input("x", "float32", (3, size))
    w = np.random.default_rng(1).standard_normal((size, 24)).astype(np.float32)
    return g.graph([g.Softmax(g.Tanh(g.MatMul(x, g.const(w))), axis=-1)])


def run_small() -> None:
    x = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((40, 24)).astype(np.float32)
    e = np.exp(np.tanh(x @ w))
    made = walle.Session(small_graph(), backend="vulkan").run([x])
    np.testing.assert_allclose(next(iter(made.values())), e / e.sum(-1, keepdims=True), rtol=1e-5, atol=1e-6)


def in_process(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    full = {**os.environ, "PYTHONPATH": paths, **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=240, check=False
    )


def test_committed_modules_are_what_the_compiler_makes(tmp_path: Path) -> None:
    if TOOLS and REQUIRED:
        pytest.fail(f"{', '.join(TOOLS)} not found, but WALLE_REQUIRE_DEVICES is set")
    if TOOLS:
        pytest.skip(f"skipped: {', '.join(TOOLS)} not found (Debian: glslc, spirv-tools)")
    from walle_backend_vulkan.compile import FOLDER, everything

    made = everything()
    assert set(made) == {path.stem for path in FOLDER.glob("*.spv")}
    stale = [name for name, code in made.items() if (FOLDER / f"{name}.spv").read_bytes() != code]
    assert not stale, "run python -m walle_backend_vulkan.compile"
    for path in FOLDER.glob("*.spv"):
        subprocess.run(["spirv-val", "--target-env", "vulkan1.1", str(path)], check=True)


@pytest.mark.parametrize("name", ["chain-1", "chain-4", "product-4", "windows-4", "norm-4", "raster-u32"])
def test_what_is_handed_to_the_driver_is_valid(tmp_path: Path, name: str) -> None:
    """With float rules, and without the operators that the constants leave unused."""
    from walle_backend_vulkan.prune import pruned
    from walle_backend_vulkan.spirv import KEEP_SPECIAL, KEEP_SUBNORMALS, join, module, split, with_rules

    header, instructions = split(module(name))
    assert join(header, instructions) == module(name)
    small = pruned(instructions, {})  # the defaults apply no operator
    if name.startswith("chain"):
        assert len(join(header, small)) < 0.5 * len(module(name))
    if "spirv-val" in TOOLS:
        pytest.skip("skipped: spirv-val not found (Debian: spirv-tools)")
    for made in (small, with_rules(small, [KEEP_SPECIAL, KEEP_SUBNORMALS])):
        (tmp_path / "m.spv").write_bytes(join(header, made))
        subprocess.run(["spirv-val", "--target-env", "vulkan1.1", str(tmp_path / "m.spv")], check=True)


@needs_device
def test_a_run_is_one_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    from walle_backend_vulkan import loaded

    session = walle.Session(small_graph(), backend="vulkan")
    x = np.zeros((3, 40), np.float32)
    session.run([x])
    submitted = []
    real = loaded.LoadedImage._submit
    monkeypatch.setattr(loaded.LoadedImage, "_submit", lambda *a: (submitted.append(a[2]), real(*a)))
    monkeypatch.setattr(loaded.LoadedImage, "_record", lambda *a: pytest.fail("recorded again"))
    for _ in range(3):
        session.run([x])
    assert submitted == ["a run"] * 3


@needs_device
@pytest.mark.parametrize("bits", ["128", "512"])
def test_other_widths_of_the_processor(tmp_path: Path, bits: str) -> None:
    """Lavapipe runs 4, 8 (its default) or 16 items at once; on other devices the variable says nothing."""
    code = (
        "import subprocess, sys, pytest\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--pyargs', 'walle_core.testing.conformance',\n"
        "    '--ignore-glob=/*/test_node_tests.py', '--walle-backend', 'vulkan', '-k', 'matches_reference and (MatMul or Softmax)']))\n"
    )
    done = in_process(code, LP_NATIVE_VECTOR_WIDTH=bits, WALLE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout


@needs_device
def test_validation_layers_have_nothing_to_say(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, pytest\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--pyargs', 'walle_core.testing.conformance',\n"
        "    '--ignore-glob=/*/test_node_tests.py', '--walle-backend', 'vulkan', '-k', 'matches_reference and (MatMul or Conv or Softmax or Pool or Gather)']))\n"
    )
    done = in_process(code, WALLE_VULKAN_VALIDATE="1", WALLE_CACHE=str(tmp_path))
    said = done.stdout + done.stderr
    if "VK_LAYER_KHRONOS_validation" in said and "not" in said and not REQUIRED and " passed" not in said:
        pytest.skip("skipped: the validation layers are not installed (Debian: vulkan-validationlayers)")
    assert done.returncode == 0, said[-2000:]
    assert " passed" in done.stdout
    assert "Validation" not in said, said[-4000:]


@needs_device
def test_the_layers_would_have_said_something(tmp_path: Path) -> None:
    code = (
        "import walle_backend_vulkan as w\n"
        "d = w.open_device()\n"
        "from walle_backend_vulkan.api import NULL, ffi, lib, struct\n"
        "lib.vkCreateBuffer(d.handle, struct('VkBufferCreateInfo', size=0, usage=32), NULL, ffi.new('VkBuffer*'))\n"
    )
    done = in_process(code, WALLE_VULKAN_VALIDATE="1", WALLE_CACHE=str(tmp_path))
    if "no device matches" not in done.stderr and "not used" in done.stderr and not REQUIRED:
        pytest.skip("skipped: the validation layers are not installed (Debian: vulkan-validationlayers)")
    assert "VUID-VkBufferCreateInfo-size" in done.stdout + done.stderr, done.stderr


@needs_device
def test_a_damaged_cache_of_pipelines_is_made_again(tmp_path: Path) -> None:
    for spoil in (None, lambda data: data[:20], lambda data: data[:40] + b"rubbish", lambda data: b""):
        for path in (tmp_path / "vulkan").glob("*.bin"):
            path.write_bytes(spoil(path.read_bytes()))
        done = in_process("import test_vulkan; test_vulkan.run_small()", WALLE_CACHE=str(tmp_path))
        assert done.returncode == 0, done.stderr
        kept = list((tmp_path / "vulkan").glob("*.bin"))
        assert len(kept) == 1
        assert kept[0].stat().st_size > 32


@needs_device
def test_two_processes_share_the_cache(tmp_path: Path) -> None:
    env = {**os.environ, "WALLE_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    code = "import test_vulkan; test_vulkan.run_small()"
    both = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in "12"]
    assert [p.wait(timeout=120) for p in both] == [0, 0]


@needs_device
def test_a_forked_process_is_told_to_open_its_own(tmp_path: Path) -> None:
    code = (
        "import os, test_vulkan, numpy as np, walle_core as walle\n"
        "s = walle.Session(test_vulkan.small_graph(), backend='vulkan')\n"
        "x = np.zeros((3, 40), np.float32); s.run([x])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: s.run([x])\n"
        "    except walle.WalleError as error: os._exit(7 if 'fork' in str(error) else 8)\n"
        "    os._exit(9)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = in_process(code, WALLE_CACHE=str(tmp_path))
    assert done.stdout.strip() == "7", done.stderr


@pytest.mark.parametrize("icd", ["/nowhere/icd.json", "broken"], ids=["no driver", "broken driver"])
def test_without_a_working_driver_there_is_no_device(tmp_path: Path, icd: str) -> None:
    if icd == "broken":
        path = tmp_path / "icd.json"
        path.write_text(
            '{"file_format_version": "1.0.0", "ICD": {"library_path": "libabsent.so", "api_version": "1.2"}}'
        )
        icd = str(path)
    code = (
        "import logging; logging.basicConfig()\n"
        "from walle_core.plugins import load_plugins\n"
        "print(load_plugins().backends.get('vulkan').devices())\n"
    )
    done = in_process(code, VK_ICD_FILENAMES=icd, VK_DRIVER_FILES=icd, WALLE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[]")
    assert "Vulkan is not used" in done.stderr


def test_a_named_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLE_VULKAN_DEVICE", "no such device")
    with pytest.raises(BackendError):
        walle_backend_vulkan.open_device()


@needs_device
def test_memory_that_is_not_there_is_a_clear_error() -> None:
    from walle_backend_vulkan.memory import Memory

    before = Memory.made
    with pytest.raises(walle.WalleError, match="bytes of memory failed"):
        Memory(OPENED.handle, OPENED.memory_types, 1 << 46, False)
    assert Memory.made == before


@needs_device
def test_a_thousand_loads_keep_no_memory() -> None:
    from walle_backend_vulkan.memory import Memory

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    session = walle.Session(small_graph(), backend="vulkan")
    x = np.zeros((3, 40), np.float32)
    session.run([x])
    image = session.plan.parts[0].executable.image
    sizes, held = [], Memory.made
    for i in range(1000):
        OPENED.load(image).run([walle.Tensor.of(x)])
        assert Memory.made <= held + 4 * image.arena + 4 * image.constants + 8192
        if i in (199, 999):
            sizes.append(resident())
    assert Memory.made == held
    assert sizes[1] - sizes[0] < 4 << 20, sizes
