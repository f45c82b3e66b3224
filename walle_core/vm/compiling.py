"""Compiling a task before it is released: its sources, once per Python version that is here, into one signed package.

Bytecode of a version comes from that version's own compiler, in a process; the source is compiled there, never executed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from walle_core.vm import allow
from walle_core.vm.errors import PackageError, PolicyError
from walle_core.vm.package import SOURCE, Sign, write
from walle_core.vm.types import Policy

TIMEOUT_S = 60.0
_PROGRAM = """
import base64, importlib.util, json, marshal, sys, time
asked = json.load(sys.stdin)
def bare(code):
    consts = tuple(bare(c) if hasattr(c, "co_code") else c for c in code.co_consts)
    return code.replace(co_consts=consts, **({} if asked["lines"] else {"co_linetable": b""}))
def best(function):
    times = []
    for _ in range(20):
        begin = time.perf_counter(); function(); times.append(time.perf_counter() - begin)
    return min(times)
out = {}
for name, (text, file) in asked["modules"].items():
    make = lambda: compile(text, file, "exec", dont_inherit=True, optimize=asked["optimize"])
    raw = marshal.dumps(bare(make()))
    out[name] = [base64.b64encode(raw).decode(), best(make), best(lambda: marshal.loads(raw))]
print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "kind": sys.implementation.name,
                  "magic": base64.b64encode(importlib.util.MAGIC_NUMBER).decode(), "modules": out}))
"""


@attrs.frozen
class Form:
    """One form of a task in a package.

    Attributes:
        python: "3.13", or "source".
        bytes: all modules, unpacked.
        packed: the same, zlib-compressed, as the package holds them.
        load_s: seconds to make code objects of them, the least of 20 tries in that Python; None where it is not known.
    """

    python: str
    bytes: int
    packed: int
    load_s: float | None


@attrs.frozen
class Compiled:
    """A package, and what it consists of.

    Attributes:
        data: the package.
        forms: the source first, then one per Python, in the order asked for.
        missing: versions that were asked for and have no compiler here.
    """

    data: bytes = attrs.field(repr=False)
    forms: tuple[Form, ...]
    missing: tuple[str, ...]


def find_python(version: str) -> str | None:
    """The interpreter of a minor version ("3.13"): this one, on PATH, or under pyenv."""
    if not re.fullmatch(r"3\.\d{1,2}", version):
        raise PackageError("PackageError", f"{version!r} is no minor version of Python; wanted one like 3.13")
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python{version}"))
    on_path = shutil.which(f"python{version}")
    return str(found[-1]) if found else on_path


def compile_task(
    name: str,
    sources: Mapping[str, str],
    sign: Sign,
    *,
    entry: str = "main",
    policy: Policy = Policy(),  # noqa: B008  immutable
    pythons: Sequence[str] | Mapping[str, str] = ("3.11", "3.12", "3.13"),
    optimize: int = 2,
    lines: bool = True,
    source: bool = True,
) -> Compiled:
    """Checks a task's sources against `policy` and compiles them.

    Args:
        name: of the task; code objects are of the file ``<task NAME>``, wherever the sources were.
        sources: module name -> text; "main" has the entry.
        sign: signs the manifest, for example with an Ed25519 key.
        entry: function that a run calls.
        policy: what the task may import.
        pythons: minor versions, or these with their interpreters.
        optimize: 0; 1: without asserts; 2: without docstrings too.
        lines: keep line numbers for tracebacks, about a tenth of the bytes.
        source: add the text, for Pythons that there is no bytecode for.

    Raises:
        PolicyError: a source does what `policy` does not grant, or is no Python.
        PackageError: an interpreter fails, or the package would hold nothing.
    """
    if "main" not in sources:
        raise PackageError("PackageError", f"task {name!r} has no module 'main'")
    refused = [
        f"{module}, {found}"
        for module, text in sources.items()
        for found in allow.check_source(text, policy, name=module, modules=frozenset(sources))
    ]
    if refused:
        raise PolicyError("PolicyError", f"task {name!r} cannot be compiled: " + "; ".join(refused))
    modules: dict[str, dict[str, tuple[bytes, int]]] = {module: {} for module in sources}
    forms, missing = [], []
    if not isinstance(pythons, Mapping):
        pythons = {version: find_python(version) or "" for version in pythons}
    first = None
    for version, program in pythons.items():
        if not program:
            missing.append(version)
            continue
        made, compile_s, load_s = _compiled(program, version, name, sources, optimize, lines)
        first = compile_s if first is None else first
        for module, raw in made.items():
            modules[module][version] = raw, optimize
        forms.append(_form(version, list(made.values()), load_s))
    if source:
        texts = {module: text.encode() for module, text in sources.items()}
        for module, text in texts.items():
            modules[module][SOURCE] = text, 0
        forms.insert(0, _form(SOURCE, list(texts.values()), first))
    if not forms:
        raise PackageError(
            "PackageError", f"none of Python {', '.join(missing)} is here, and the source is left out"
        )
    return Compiled(write(name, entry, modules, sign), tuple(forms), tuple(missing))


def _form(python: str, raws: Sequence[bytes], load_s: float | None) -> Form:
    return Form(python, sum(map(len, raws)), sum(len(zlib.compress(r, 9)) for r in raws), load_s)


def _compiled(
    program: str, version: str, name: str, sources: Mapping[str, str], optimize: int, lines: bool
) -> tuple[dict[str, bytes], float, float]:
    """Magic number and bytecode by module, seconds to compile, seconds to load."""
    files = {
        m: (text, f"<task {name}>" if m == "main" else f"<task {name}, {m}>") for m, text in sources.items()
    }
    asked = json.dumps({"modules": files, "optimize": optimize, "lines": lines})
    where = f"compiling task {name!r} with {program}"
    try:
        done = subprocess.run(  # noqa: S603  an interpreter
            [program, "-I", "-S", "-c", _PROGRAM],
            input=asked.encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PackageError("PackageError", f"{where}: {error}") from error
    if not found:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PackageError(
            "PackageError", f"{where}: status {done.returncode}: {last[-1] if last else 'no message'}"
        )
    if found["version"] != version or found["kind"] != "cpython":
        raise PackageError(
            "PackageError", f"{where}: that is {found['kind']} {found['version']}, not CPython {version}"
        )
    magic = base64.b64decode(found["magic"])
    rows = found["modules"].values()
    made = {module: magic + base64.b64decode(row[0]) for module, row in found["modules"].items()}
    return made, sum(row[1] for row in rows), sum(row[2] for row in rows)
