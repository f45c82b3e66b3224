"""Engines of the installed backends: a backend on a device of this machine, with its rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core.cost import GUESS, rates_of
from walle_core.errors import InputError, UnsupportedError
from walle_core.evaluate import evaluate
from walle_core.plugins import load_plugins
from walle_core.search import Engine


def engines_for(
    backend: str | Sequence[str] | None,
    threads: int,
    measured: bool,
    progress: Callable[[str], None] = lambda _: None,
    precision: str = "high",
) -> list[Engine]:
    """Engines of the installed backends; the named ones first. `precision` is that of Session.

    Raises UnsupportedError if a named backend is not installed or has no device here.
    """
    backends = load_plugins().backends
    if not (backend is None or isinstance(backend, str) or (isinstance(backend, Sequence) and len(backend))):
        raise InputError(f"backend must be a name, a list of names or None, not {backend!r}")
    names = [backend] if isinstance(backend, str) else list(backend or [])
    engines: dict[str, Engine] = {}
    for name in [*names, *(n for n in backends if n not in names)]:
        if name not in backends:
            raise UnsupportedError(f"no backend {name!r} is installed; installed: {', '.join(backends)}")
        found = backends[name]
        devices = found.devices()
        if not devices and name in names:
            raise UnsupportedError(f"backend {name!r} finds no device on this machine; see `walle devices`")
        for device in devices[:1]:
            known = measured or name in names
            rates = rates_of(found, device, threads, progress) if known else GUESS
            engines[name] = Engine(found, device, evaluate, rates, precision=precision)
    return list(engines.values())


def backends() -> dict[str, list[Any]]:
    """Installed backends and the devices that each finds on this machine."""
    return {name: list(backend.devices()) for name, backend in load_plugins().backends.items()}
