"""What is installed, told by looking at folders only: importing the metadata library takes longer than starting a plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from walle_core.errors import CacheError

METADATA = ".dist-info"  # a source folder on the path may hold .egg-info, which installs nothing


def _metadata() -> Iterator[os.DirEntry[str]]:
    for folder in dict.fromkeys(sys.path):
        try:
            with os.scandir(folder or ".") as entries:
                yield from (e for e in entries if e.name.endswith(METADATA))
        except OSError:
            continue


def distributions() -> list[list[Any]]:
    """[name of the metadata, time of its last change in ns] of every installed distribution, sorted."""
    return sorted([e.name, e.stat().st_mtime_ns] for e in _metadata())


def package_stamp(folder: str) -> list[int]:
    """[number of modules, newest change in ns] of a package's Python and compiled files."""
    count = newest = 0
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for e in entries:
                if e.is_dir(follow_symlinks=False):
                    if e.name != "__pycache__":
                        pending.append(e.path)
                elif e.name.endswith((".py", ".so", ".pyd")):
                    count += 1
                    newest = max(newest, e.stat().st_mtime_ns)
    return [count, newest]


def module_stamp(module: str) -> list[int]:
    """`package_stamp` of the package that holds an installed module."""
    found = import_module(module.partition(".")[0])
    return package_stamp(str(Path(found.__file__ or "").resolve().parent))


def declares(module: str) -> bool:
    """True if an installed distribution names this module as a plugin of Walle (entry-point group ``walle``)."""
    for entry in _metadata():
        try:
            with Path(entry.path, "entry_points.txt").open(encoding="utf-8") as file:
                lines = file.read().splitlines()
        except (OSError, ValueError):
            continue
        inside = False
        for line in lines:
            if line.startswith("["):
                inside = line.strip() == "[walle]"
            elif inside and line.partition("=")[2].partition(":")[0].strip() == module:
                return True
    return False


def function(where: str) -> Any:
    """The function ``module:name`` of the core or of an installed plugin. Raises CacheError for any other module."""
    module, _, name = where.partition(":")
    if not (module.startswith("walle_core.") or declares(module)) or not name.isidentifier():
        raise CacheError(f"{where!r} is no function of an installed plugin")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CacheError(f"{where!r} is gone ({error})") from error


def version_of(distribution: str) -> str:
    """Version of an installed distribution; "0" where it is imported from a source folder."""
    from importlib.metadata import (  # here: a start from a stored plan does without
        PackageNotFoundError,
        version,
    )

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "0"
