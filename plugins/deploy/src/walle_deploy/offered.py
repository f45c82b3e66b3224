"""What installed plugins offer through ``walle_register_policies`` beside policies: release gates and delta codecs."""

from __future__ import annotations

import logging
from typing import Any

from walle_core.errors import PluginError
from walle_deploy.errors import ReleaseError
from walle_deploy.policies.compiling import installed_kinds
from walle_deploy.release.gates import GateRegistry, register_gates

_log = logging.getLogger(__name__)


def offered(kind: str) -> dict[str, Any]:
    """Name -> what a plugin's `PolicyKind` of this kind, ``gate`` or ``codec``, names; what cannot be loaded is left out and logged."""
    made = {}
    for name, item in installed_kinds().items():
        if getattr(item, "kind", "") != kind:
            continue
        try:
            made[name] = item.load()
        except PluginError as error:
            _log.warning("%s %s is left out: %s", kind, name, error)
    return made


def installed_gates() -> GateRegistry:
    """The kinds of gates of this package and of installed plugins."""
    registry = GateRegistry()
    register_gates(registry)
    for name, made in offered("gate").items():
        try:
            if getattr(made, "kind", None) != name:
                raise ReleaseError(
                    f"its class says kind = {getattr(made, 'kind', None)!r}; let both say the same"
                )
            registry.add(made)
        except ReleaseError as error:
            _log.warning("gate %s is left out: %s", name, error)
    return registry
