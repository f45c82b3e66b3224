"""Which of a plugin's compiled tables to use. Restoring a stored plan needs this module and nothing of how plans are made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from walle_core.errors import PluginError


class Build(Protocol):
    """A plugin's extension module over `walle/choices.hpp`."""

    def compiled(self) -> list[str]:
        """ISAs in the build, best first; empty on machines that it is not for."""

    def extends(self) -> Mapping[str, str]:
        """ISA -> the one whose rows stand behind its own."""

    def usable(self) -> Mapping[str, Any]:
        """ISA -> capsule of its table, of those that this CPU can run, best first."""


def tables_of(build: Build, isa: str = "") -> list[object]:
    """Capsules of the kernel tables of one ISA: its own, then those that it extends; none where the build has none.

    Args:
        build: whose tables.
        isa: which; default: ``WALLE_ISA``, else the best one that this CPU can run. ``scalar`` is the portable table.

    Raises:
        PluginError: it is unknown or cannot run here.
    """
    found, behind = build.usable(), build.extends()
    forced = isa or os.environ.get("WALLE_ISA", "") or next(iter(found), "")
    if not forced or (
        not isa and not build.compiled()
    ):  # the variable is for the plugin of this architecture
        return []
    if forced == "scalar":
        from walle_core._native import scalar_table

        return [scalar_table()]
    if forced not in found:
        have = ", ".join([*found, "scalar"])
        why = "this CPU cannot run it" if forced in build.compiled() else "there is no such ISA in this build"
        raise PluginError(f"WALLE_ISA={forced}: {why}; choose one of: {have}")
    chosen = [forced]
    while chosen[-1] in behind:
        chosen.append(behind[chosen[-1]])
    return [found[name] for name in chosen]
