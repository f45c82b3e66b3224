"""An AArch64 CPython with Walle in it, run by QEMU's user emulation: made once under build/neon, and again when a source changes.

The packages are Debian's and PyPI's for arm64, unpacked without running anything of them; walle_core and this plugin are
compiled by the cross compiler, through their own setup.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PLUGIN, ROOT = HERE.parent, HERE.parents[2]
HOME = ROOT / "build/neon"
TOOLS = ("qemu-aarch64-static", "aarch64-linux-gnu-g++", "apt-get", "dpkg-deb")
PYTHON = (3, 11)  # Debian's, and the one that must build for it
PACKAGES = (
    "numpy",
    "pytest",
    "attrs",
    "pluggy",
    "click",
    "rich",
    "hypothesis",
    "ml_dtypes",
    "onnx",
    "pillow",
)
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
SOURCES = {".py", ".pyx", ".pxd", ".pyi", ".hpp", ".h", ".cpp", ".k", ".toml"}
CPUS = (
    "cortex-a72",
    "cortex-a76",
    "max",
)  # NEON alone; with dot products; with everything that the plugin knows


def needed() -> None:
    """Skips where nothing can be emulated; fails there if devices are required, as in continuous integration."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    why = f"{', '.join(absent)} not found (Debian: qemu-user-static, g++-aarch64-linux-gnu)" if absent else ""
    if sys.version_info[:2] != PYTHON:
        why = f"the emulated Python is {PYTHON[0]}.{PYTHON[1]}, which another one cannot build for"
    if why and os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"} and absent:
        pytest.fail(why)
    if why:
        pytest.skip(f"skipped: {why}")


def _digest() -> str:
    digest = hashlib.sha256()
    listed = [
        p for root in (ROOT / "walle_core", PLUGIN) for p in sorted(root.rglob("*")) if p.suffix in SOURCES
    ]
    for path in [ROOT / "setup.py", ROOT / "pyproject.toml", *(p for p in listed if "build" not in p.parts)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def environment() -> Path:
    """The folder of the emulated environment, up to date."""
    needed()
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _once(
            HOME / "prefix",
            lambda made: _run("sh", HERE / "prefix.sh", made, "python3", "libpython3-dev", "libstdc++6"),
        )
        _once(HOME / "packages", _download)
        stamp, digest = HOME / "sources.stamp", _digest()
        if not stamp.is_file() or stamp.read_text() != digest:
            _build()
            stamp.write_text(digest)
    return HOME


def objects() -> Path:
    """The folder with the compiled objects of the plugin's tables."""
    (found,) = (environment() / "source/plugin/build").glob("temp*/src/walle_backend_neon/csrc")
    return found


def _once(target: Path, make: object) -> None:
    if target.is_dir():
        return
    made = target.with_name(target.name + ".new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    make(made)  # type: ignore[operator]
    made.rename(target)


def _run(*command: object, **variables: str) -> None:
    done = subprocess.run(
        [*map(str, command)], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _download(target: Path) -> None:
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    version = f"{PYTHON[0]}.{PYTHON[1]}"
    _run(
        sys.executable, "-m", "pip", "install", "-q", "--target", target, "--only-binary=:all:", *platforms,
        "--python-version", version, "--implementation", "cp", *PACKAGES,
    )  # fmt: skip


def _build() -> None:
    """Wheels of walle_core and the plugin, unpacked side by side."""
    prefix, source, site = HOME / "prefix", HOME / "source", HOME / "site"
    for folder in (source, site, HOME / "config"):
        shutil.rmtree(folder, ignore_errors=True)
    left_out = shutil.ignore_patterns("*.so", "__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "walle_core", source / "core/walle_core", ignore=left_out)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy2(ROOT / name, source / "core")
    shutil.copytree(PLUGIN, source / "plugin", ignore=left_out)
    name = "_sysconfigdata__aarch64-linux-gnu"
    version = f"python{PYTHON[0]}.{PYTHON[1]}"
    (HOME / "config").mkdir()
    shutil.copy2(prefix / "usr/lib" / version / f"{name}.py", HOME / "config")
    include = prefix / "usr/include"
    ccache = "ccache " if shutil.which("ccache") else ""
    variables = {
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": name,
        "PYTHONPATH": str(HOME / "config"),
        "CC": f"{ccache}aarch64-linux-gnu-gcc",
        "CXX": f"{ccache}aarch64-linux-gnu-g++",
        "LDSHARED": "aarch64-linux-gnu-g++ -shared",
        "CPATH": f"{include / version}:{include}",
        "WALLE_INCLUDE": str(source / "core/walle_core/include"),
    }
    site.mkdir()
    for part in ("core", "plugin"):
        code = f"import os, runpy, sys; os.chdir({str(source / part)!r}); sys.argv = ['setup.py', '-q', 'bdist_wheel']; runpy.run_path('setup.py', run_name='__main__')"
        _run(sys.executable, "-c", code, **variables)
        (wheel,) = (source / part / "dist").glob("*aarch64.whl")
        with zipfile.ZipFile(wheel) as file:
            file.extractall(site)


def python(cpu: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the emulated Python on a processor."""
    home = environment()
    given = {
        "PYTHONPATH": f"{home / 'site'}:{home / 'packages'}",
        "WALLE_CACHE": str(home / "cache" / cpu),
        "OPENBLAS_NUM_THREADS": "1",
        **variables,
    }
    settings = [word for key, value in given.items() for word in ("-E", f"{key}={value}")]
    command = ["qemu-aarch64-static", "-cpu", cpu, "-L", str(home / "prefix"), *settings]
    executable = str(home / "prefix/usr/bin/python3")
    return subprocess.run(
        [*command, executable, "-P", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        timeout=3600,
    )
