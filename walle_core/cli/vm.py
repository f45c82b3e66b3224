"""``walle vm``: what tasks need of a device."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from walle_core.cli.common import json_option, print_json, print_table, walle_command
from walle_core.errors import InputError, UnsupportedError

DEFAULT = ("walle_core", "walle_core._native.tensor", "walle_core.matrix")
TRIES = 5
# What the import of DEFAULT may take: time and memory are measured, modules and their files are counted.
LIMITS = {"import_ms": 40.0, "memory_mb": 15.0, "modules": 70, "files_mb": 4.0}
_PROGRAM = """
import sys, time
sys.path[:] = %r
def resident():
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * %d
known, before = set(sys.modules), resident()
begin = time.process_time()
for name in %r:
    __import__(name)
took, after = time.process_time() - begin, resident()
files = {n: getattr(m, "__file__", None) for n, m in sys.modules.items() if n not in known and m is not None}
start = {n: getattr(sys.modules[n], "__file__", None) for n in known}
import json
print(json.dumps({"seconds": took, "before": before, "bytes": after - before, "files": files, "start": start}))
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Tasks on a device: many scripts at once, each on its own."""


@walle_command("walle vm size\nwalle vm size main.py\nwalle vm size --module walle_core.cv --json")
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--module", "modules", multiple=True, metavar="NAME", help="Import this instead of what tasks use."
)
@click.option("--list", "listed", is_flag=True, help="List each module with its file and size.")
@json_option
def size(script: str | None, modules: tuple[str, ...], listed: bool, as_json: bool) -> None:
    """What a task needs: files on disk, modules, processor time and memory to import them in a fresh interpreter.

    Of SCRIPT's imports, of the modules named, or of Tensor and the arrays. The time is the least of five.
    """
    names = list(modules) or (_imports(script) if script else list(DEFAULT))
    runs = [_measured(names) for _ in range(TRIES)]
    first, seconds = runs[0], min(r["seconds"] for r in runs)
    memory = sorted(r["bytes"] for r in runs)[TRIES // 2]
    groups = _grouped(first["files"])
    start = _grouped(first["start"]).get("standard library", {})
    disk = {
        "interpreter": _interpreter(),
        "standard library, to start": sum(_bytes(f) for f in start.values()),
        **{group: sum(_bytes(f) for f in files.values()) for group, files in groups.items()},
    }
    taken = {
        "import_ms": seconds * 1e3,
        "memory_mb": memory / 1e6,
        "modules": sum(map(len, groups.values())),
        "files_mb": sum(disk[group] for group in groups) / 1e6,
    }
    limits = LIMITS if names == list(DEFAULT) else {}
    if as_json:
        print_json({
            "imports": names, "import_ms": seconds * 1e3, "memory_mb": memory / 1e6, "interpreter_mb": first["before"] / 1e6,
            "disk_bytes": disk, "disk_total": sum(disk.values()), "taken": taken, "limits": limits,
            "modules": {group: sorted(files) for group, files in groups.items()},
        })  # fmt: skip
        return
    rows = [
        (name, len(groups.get(name, start if name.startswith("standard") else ())) or "", f"{n / 1e6:.2f}")
        for name, n in disk.items()
    ]
    print_table(("on disk", ">modules", ">MB"), [*rows, ("together", "", f"{sum(disk.values()) / 1e6:.2f}")])
    click.echo(
        f"\nimport {', '.join(names)}: {seconds * 1e3:.1f} ms, {memory / 1e6:.1f} MB on the interpreter's {first['before'] / 1e6:.1f}"
    )
    click.echo(f"{taken['modules']} modules in {taken['files_mb']:.2f} MB of files")
    for name, limit in limits.items():
        if taken[name] > limit:
            busy = ", unless the machine was busy" if name == "import_ms" else ""
            click.echo(f"{name} is {taken[name]:.1f}: more than the {limit:g} that tasks are promised{busy}")
    if listed:
        click.echo()
        found = [
            (n, group, f"{_bytes(f) / 1e3:.1f}", f or "built in")
            for group, fs in groups.items()
            for n, f in sorted(fs.items())
        ]
        print_table(("module", "of", ">kB", "file"), found)


def _imports(script: str) -> list[str]:
    """Modules that a script imports, the task's own neighbours left out."""
    path = Path(script)
    try:
        tree = ast.parse(path.read_bytes(), script)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{script}: no Python: {error}") from error
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[node.module] = None
    return [n for n in found if not path.with_name(f"{n.partition('.')[0]}.py").exists()]


def _measured(names: list[str]) -> dict[str, Any]:
    here = str(Path(__file__).resolve().parents[2])
    program = _PROGRAM % (
        [here, *(p for p in sys.path if p and p != here)],
        os.sysconf("SC_PAGE_SIZE"),
        names,
    )
    done = subprocess.run(  # noqa: S603  this interpreter
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines() or ["no message"]
        raise UnsupportedError(f"importing {', '.join(names)}: {last[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _grouped(files: Mapping[str, str | None]) -> dict[str, dict[str, str | None]]:
    """Modules by whose they are."""
    groups: dict[str, dict[str, str | None]] = {}
    for name, file in files.items():
        top = name.partition(".")[0]
        if "cython" in top:
            continue  # shared by compiled modules, without a file
        if top in sys.stdlib_module_names:
            group = "standard library"
        elif top in {"attr", "attrs"}:
            group = "attrs"
        else:
            group = top
        groups.setdefault(group, {})[name] = file
    return dict(sorted(groups.items(), key=lambda g: (g[0] != "standard library", g[0])))


def _bytes(file: str | None) -> int:
    return Path(file).stat().st_size if file and Path(file).is_file() else 0


def _interpreter() -> int:
    """The executable and its shared library."""
    library = sysconfig.get_config_var("LDLIBRARY") or ""
    folder = sysconfig.get_config_var("LIBDIR") or ""
    shared: Iterable[Path] = [Path(folder) / library] if ".so" in library else []
    return sum(_bytes(str(p)) for p in [Path(sys.executable).resolve(), *shared])


command.add_command(size, "size")
