"""Finds other versions of Python on this machine and gives each an environment with this source tree installed.

An environment lives in build/pythons/<version>, is shared by all tests of all processes, and is made anew only when a
source has changed; a change of Python files alone is copied into it. A compiler cache (ccache) is used where it is
installed: what does not depend on the version of Python is compiled with the flags and paths of the Python that runs the
tests, so that it is found where that one has left it.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = os.environ.get("WALLE_PYTHONS", "3.12 3.13").split()
OWN = "{}.{}".format(*sys.version_info[:2])
TESTED = [*dict.fromkeys([*([OWN] if sys.version_info >= (3, 12) else []), *VERSIONS])]
# bindings of drivers load in one interpreter only; Walle goes on without them
NO_DRIVERS = {"WALLE_OPENCL_DEVICE": "none", "WALLE_VULKAN_DEVICE": "none"}
LEFT_OUT = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "*.so", ".*")
PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check")


class Unavailable(Exception):
    """Why a version cannot be tested on this machine."""


def find(version):
    """The executable of a version: on PATH, or among those that pyenv keeps. Raises Unavailable."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    named = [
        shutil.which(f"python{version}"),
        *sorted(pyenv.glob(f"versions/{version}*/bin/python{version}")),
    ]
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, named):
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return str(path)
    raise Unavailable(
        f"no python{version} with venv is installed; interpreters with a GIL of their own are not tested"
    )


def python(version):
    """The executable of a version that has this source tree installed; skips the test if there is none."""
    if version == OWN:
        return sys.executable
    try:
        return prepare(version)
    except Unavailable as reason:
        pytest.skip(str(reason))


def environment(executable):
    """Variables for a test's process with such an executable."""
    # bytecode is kept, as compiling it anew in every interpreter is most of the time
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if executable != sys.executable:
        kept.pop("PYTHONPATH", None)
    return kept | NO_DRIVERS | {"PYTHONPYCACHEPREFIX": str(ROOT / "build/pycache")}


def compiled_sources():
    """The Cython modules of the core and of every plugin."""
    roots = [ROOT / "walle_core", *(p / "src" for p in _plugins())]
    return sorted(p for root in roots for p in root.rglob("*.pyx"))


def compiled_modules():
    """Names of those modules."""
    roots = [ROOT, *(p / "src" for p in _plugins())]
    found = [p.relative_to(r) for p in compiled_sources() for r in reversed(roots) if p.is_relative_to(r)]
    return [".".join(p.with_suffix("").parts) for p in found if p.parts[0].startswith("walle_")]


def _plugins():
    return sorted(p.parent for p in (ROOT / "plugins").glob("*/pyproject.toml"))


def _packages():
    """Folders of Python packages as they lie in the source tree."""
    return [ROOT / "walle_core", *(p for plugin in _plugins() for p in (plugin / "src").glob("walle_*"))]


def _digest(wanted):
    """Digest of the source files that `wanted` accepts."""
    folders = [ROOT / "walle_core", *_plugins()]
    files = [ROOT / "setup.py", *(p for f in folders for p in f.rglob("*") if p.is_file())]
    skipped = {"build", "tests", "__pycache__"}
    total = hashlib.sha256()
    for path in sorted(files):
        if wanted(path) and not skipped.intersection(path.relative_to(ROOT).parts):
            total.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _is_compiled(path):
    return path.suffix in {".pyx", ".pxd", ".pxi", ".cpp", ".hpp", ".h", ".toml"} or path.name == "setup.py"


def _is_python(path):
    return path.suffix == ".py"


def prepare(version):
    """The python of an up-to-date environment. Raises Unavailable, or CalledProcessError if the sources do not build."""
    base = find(version)
    home = ROOT / "build/pythons" / version
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = home / "venv/bin/python"
        for name, wanted, make in [("compiled", _is_compiled, _build), ("python", _is_python, _copy)]:
            stamp, digest = home / f"{name}.stamp", _digest(wanted)
            if not stamp.is_file() or stamp.read_text() != digest:
                stamp.unlink(missing_ok=True)  # a build that is interrupted is none
                make(base, home, python)
                stamp.write_text(digest)
        return str(python)


def _run(*command, **environment):
    subprocess.run([*map(str, command)], check=True, env={**os.environ, **environment})


def _build(base, home, python):
    source = home / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    for name in ("walle_core", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=LEFT_OUT)
    for folder in (ROOT, *_plugins()):  # what Cython made of sources that have not changed since
        made = folder / "build/cython"
        if made.is_dir():
            shutil.copytree(made, source / made.relative_to(ROOT), dirs_exist_ok=True)
    plugins = [source / p.relative_to(ROOT) for p in _plugins()]
    clean = {"PYTHONPATH": ""}
    try:
        _run(base, "-m", "venv", "--clear", home / "venv", **clean)
        _run(
            python,
            *PIP,
            "setuptools>=77",
            "Cython>=3.1",
            "numpy",
            "attrs",
            "click",
            "pluggy",
            "rich",
            **clean,
        )
    except subprocess.CalledProcessError as error:
        raise Unavailable(
            f"the packages that a build needs cannot be installed for Python: {error}"
        ) from error
    clean |= {"CC": _cached("CC", "cc"), "CXX": shlex.quote(str(_compiler(home)))}
    clean |= {"WALLE_INCLUDE": str(ROOT / "walle_core/include"), "CCACHE_NOHASHDIR": "1"}
    clean |= {"CFLAGS": os.environ.get("CFLAGS") or sysconfig.get_config_var("CFLAGS") or ""}
    _run(python, *PIP, "--no-build-isolation", source, *plugins, **clean)


def _cached(variable, compiler):
    """The compiler that the environment names, else the system's, through ccache if there is one."""
    return os.environ.get(variable) or (f"ccache {compiler}" if shutil.which("ccache") else compiler)


def _compiler(home):
    """A compiler that optimises what Cython wrote only a little, in half the time; vector kernels have sources of their own."""
    path, cxx = home / "c++", _cached("CXX", "c++")
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c build/cython/"*) exec {cxx} "$@" -O1 ;; *) exec {cxx} "$@" ;; esac\n'
    )
    path.chmod(0o755)
    return path


def _copy(base, home, python):
    (site,) = (home / "venv/lib").glob("python*/site-packages")
    for package in _packages():
        installed = site / package.name
        for path in installed.rglob("*.py"):
            path.unlink()
        for path in package.rglob("*.py"):
            target = installed / path.relative_to(package)
            target.parent.mkdir(exist_ok=True, parents=True)
            shutil.copy2(path, target)
