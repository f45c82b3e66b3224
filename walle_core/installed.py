"""What is installed, told by looking at folders only: importing the metadata library takes longer than starting a plan."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from walle_core.errors import CacheError

METADATA = ".dist-info"  # a source folder on the path may hold .egg-info, which installs nothing
_SOURCE = ".egg-info"


class Entry(NamedTuple):
    """An entry point, as `importlib.metadata` has it.

    Attributes:
        name: what it is called in its group.
        value: ``module`` or ``module:attribute``.
        distribution, version: what installed it; "" if not known.
    """

    name: str
    value: str
    distribution: str = ""
    version: str = ""

    def load(self) -> Any:
        """What it names. Raises ImportError or AttributeError if that is not there."""
        module, _, attributes = self.value.partition("[")[0].partition(":")
        found: Any = import_module(module.strip())
        for name in attributes.strip().split(".") if attributes.strip() else ():
            found = getattr(found, name)
        return found


def _metadata(*suffixes: str) -> Iterator[os.DirEntry[str]]:
    for folder in dict.fromkeys(sys.path):
        try:
            with os.scandir(folder or ".") as entries:
                yield from (e for e in entries if e.name.endswith(suffixes or METADATA))
        except OSError:
            continue


def entry_points(group: str) -> list[Entry]:
    """Entry points of a group, by name; of two distributions of one name the first on the path."""
    found, seen = [], set()
    for folder in _metadata(METADATA, _SOURCE):
        distribution, _, version = folder.name.rpartition(".")[0].partition("-")
        if distribution in seen:
            continue
        seen.add(distribution)
        found += [
            Entry(name, value, distribution.replace("_", "-"), version)
            for name, value in _listed(folder.path, group)
        ]
    archives = [path for path in sys.path if path and Path(path).is_file()]
    if archives:
        found += _archived(archives, group, seen)
    return sorted(found, key=lambda e: e.name)


def _listed(metadata: str, group: str) -> Iterator[tuple[str, str]]:
    """(name, value) of the entry points of a group in a distribution's metadata."""
    try:
        with Path(metadata, "entry_points.txt").open(encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return
    inside = False
    for line in lines:
        if line.startswith("["):
            inside = line.strip() == f"[{group}]"
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _archived(archives: list[str], group: str, seen: set[str]) -> Iterator[Entry]:
    """Entry points in archives on the path, which only the metadata library can read."""
    from importlib.metadata import distributions as all_distributions

    for found in all_distributions(path=archives):
        if found.name.replace("-", "_") not in seen:
            seen.add(found.name.replace("-", "_"))
            for entry in found.entry_points.select(group=group):
                yield Entry(entry.name, entry.value, found.name, found.version)


def blocked_plugins() -> set[str]:
    """Names of the plugins that ``WALLE_PLUGINS_BLOCK`` leaves out."""
    return {n.strip() for n in os.environ.get("WALLE_PLUGINS_BLOCK", "").split(",") if n.strip()}


def strict_plugins() -> bool:
    """Whether ``WALLE_STRICT_PLUGINS`` wants errors for broken plugins."""
    return os.environ.get("WALLE_STRICT_PLUGINS", "") not in {"", "0"}


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
    return any(
        value.partition(":")[0].strip() == module
        for folder in _metadata()
        for _, value in _listed(folder.path, "walle")
    )


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
    wanted = distribution.replace("-", "_").lower()
    for folder in _metadata():
        name, _, version = folder.name.removesuffix(METADATA).partition("-")
        if name.lower() == wanted and version:
            return version
    from importlib import metadata  # here: a start from a stored plan does without

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "0"
