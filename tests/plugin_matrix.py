"""The per-plugin test matrix: every distribution on every Python, each plugin with the oldest core that it allows.

    make matrix                                   # all of it; prints a table, logs lie in build/matrix
    python tests/plugin_matrix.py --pythons 3.12 --only backend_avx

Rows are walle-core and every folder under plugins/ that has a pyproject.toml: a new one joins by existing. A cell is one nox
session, which installs wheels, runs the plugin's own tests and the conformance kit. The exit code is 1 unless every cell passed; a Python
that is not on this machine is a cell that did not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ["3.11", "3.12", "3.13"]
CORE = "walle-core"


def plugins(root: Path = ROOT) -> list[str]:
    """Folders of the plugins."""
    return sorted(p.parent.name for p in (root / "plugins").glob("*/pyproject.toml"))


def project(folder: Path) -> dict:
    """What a distribution's pyproject.toml declares."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def oldest_core(plugin: str, root: Path = ROOT) -> tuple[str | None, str]:
    """(git tag of the oldest released core that the plugin allows, or None for this tree; what to call it).

    Raises ValueError if the plugin declares no core, or allows neither a released one nor this tree's.
    """
    wanted = [Requirement(d) for d in project(root / "plugins" / plugin)["dependencies"]]
    allowed = next((r.specifier for r in wanted if r.name == CORE), None)
    if allowed is None:
        raise ValueError(f"plugins/{plugin}/pyproject.toml does not depend on {CORE}")
    listed = subprocess.run(
        ["git", "tag", "--list", f"{CORE}-*"], cwd=root, capture_output=True, text=True, check=False
    ).stdout  # empty outside of a repository: an unpacked source distribution has no tags
    tags = {}
    for tag in listed.split():
        try:
            tags[Version(tag.removeprefix(f"{CORE}-"))] = tag
        except InvalidVersion:
            continue
    fitting = sorted(v for v in tags if v in allowed)
    if fitting:
        return tags[fitting[0]], str(fitting[0])
    here = project(root)["version"]
    if here not in allowed:
        raise ValueError(
            f"plugins/{plugin} allows {CORE}{allowed}: no release fits, nor does this tree's {here}"
        )
    return None, f"{here} (this tree)"


def unpacked(tag: str, target: Path, root: Path = ROOT) -> Path:
    """The tree of a tag, as files in `target`."""
    target.mkdir(parents=True, exist_ok=True)
    archive = target / "tree.tar"
    subprocess.run(["git", "archive", "--output", archive, tag], cwd=root, check=True)
    shutil.unpack_archive(archive, target, "tar", filter="data")
    archive.unlink()
    return target


def interpreter(version: str) -> str | None:
    """The executable of this Python, on PATH or among those that pyenv keeps; None if it is not here."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = [str(p) for p in sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, [shutil.which(f"python{version}"), *kept]):
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return path
    return None


def run_cell(name: str, python: str, folder: Path) -> tuple[str, float]:
    """("pass", "FAIL" or "absent", seconds) of "core" or a plugin on a Python; the output goes to a log in `folder`."""
    found = interpreter(python)
    if found is None:
        return "absent", 0.0
    session = f"conformance-{python}" if name == "core" else f"plugin-{python}({name})"
    path = os.pathsep.join([str(Path(found).parent), os.environ.get("PATH", "")])
    start = time.monotonic()
    with (folder / f"{name}-{python}.log").open("w", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, "-m", "nox", "--error-on-missing-interpreters", "-s", session],
            cwd=ROOT, env={**os.environ, "PATH": path}, stdout=out, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    return ("FAIL" if done.returncode else "pass"), time.monotonic() - start


def table(rows: Sequence[tuple[str, str, Sequence[tuple[str, float]]]], pythons: Sequence[str]) -> str:
    """Rows of (distribution, core, cells) as text, a column per Python."""
    lines = [["distribution", "core", *pythons]]
    for name, core, cells in rows:
        shown = [what if what == "absent" else f"{what} {seconds:.0f} s" for what, seconds in cells]
        lines.append([name, core, *shown])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pythons", default=",".join(PYTHONS), help="comma-separated")
    parser.add_argument(
        "--only", default="", help="comma-separated folders of plugins, or core; default: all"
    )
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "matrix")
    options = parser.parse_args()
    pythons, only = options.pythons.split(","), [n for n in options.only.split(",") if n]
    known = ["core", *plugins()]
    if unknown := {*only}.difference(known):
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if unknown := {*pythons}.difference(PYTHONS):
        parser.error(f"no session for Python {', '.join(sorted(unknown))}; there are {', '.join(PYTHONS)}")
    options.logs.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in only or known:
        core = "itself" if name == "core" else oldest_core(name)[1]
        title = CORE if name == "core" else project(ROOT / "plugins" / name)["name"]
        cells = []
        for python in pythons:
            cells.append(run_cell(name, python, options.logs))
            print(f"{title}, Python {python}, core {core}: {cells[-1][0]} ({cells[-1][1]:.0f} s)", flush=True)
        rows.append((title, core, cells))
    print("\n" + table(rows, pythons))
    good = all(what == "pass" for _, _, cells in rows for what, _ in cells)
    if not good:
        print(f"\nnot all passed; logs: {options.logs}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
