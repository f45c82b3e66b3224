"""Engines of the installed backends: a backend on a device of this machine, with its rates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from walle_core.cost import GUESS, rates_key, rates_of
from walle_core.errors import DeviceError, InputError, UnsupportedError, blamed
from walle_core.evaluate import evaluate
from walle_core.plugins import load_plugins
from walle_core.search import Engine
from walle_core.tuned import load_tuned


def engines_for(
    backend: str | Sequence[str] | None,
    threads: int,
    measured: bool,
    progress: Callable[[str], None] = lambda _: None,
    precision: str = "high",
    without: Collection[str] = (),
) -> list[Engine]:
    """Engines of the installed backends; the named ones first. `precision` is that of Session.

    Backends in `without` are not asked for anything. Raises UnsupportedError if a named backend is not installed or has
    no device here, DeviceError naming the backend whose device fails while it is looked for or measured.
    """
    backends = load_plugins().backends
    if not (backend is None or isinstance(backend, str) or (isinstance(backend, Sequence) and len(backend))):
        raise InputError(f"backend must be a name, a list of names or None, not {backend!r}")
    names = [backend] if isinstance(backend, str) else list(backend or [])
    engines: dict[str, Engine] = {}
    for name in [*names, *(n for n in backends if n not in names)]:
        if name in without:
            continue
        if name not in backends:
            raise UnsupportedError(f"no backend {name!r} is installed; installed: {', '.join(backends)}")
        found = backends[name]
        try:
            devices = found.devices()
        except DeviceError as error:
            if names and name not in names:
                continue  # it was to help out at most
            raise blamed(error, name, "") from error
        if not devices and name in names:
            raise UnsupportedError(f"backend {name!r} finds no device on this machine; see `walle devices`")
        for device in devices[:1]:
            known = measured or name in names
            try:
                rates = rates_of(found, device, threads, progress) if known else GUESS
            except DeviceError as error:
                raise blamed(error, name, device.name) from error
            tuned = load_tuned(rates_key(found, device, threads))
            engines[name] = Engine(found, device, evaluate, rates, precision=precision, tuned=tuned)
    return list(engines.values())


def contenders(
    backend: str | Sequence[str] | None, threads: int, precision: str, exact: bool, lost: Sequence[str]
) -> tuple[list[Engine], bool]:
    """Engines that may run parts for a Session, and True if the first one runs all that it can.

    Args:
        backend, threads, precision, exact: as given to Session.
        lost: backends left out. If they include the one that `backend` names, the search chooses among all others.

    Raises UnsupportedError if none is left; also as `engines_for` does.
    """
    if isinstance(backend, str):
        backend = None if backend in lost else backend
    elif lost and backend is not None:
        backend = [n for n in backend if n not in lost]
        if not backend:
            raise UnsupportedError(
                f"no backend is left of those that the session may use, without {', '.join(lost)}"
            )
    forced = isinstance(backend, str)
    engines = engines_for(backend, threads, measured=not forced, precision=precision, without=lost)
    if backend is not None and not forced:
        engines = engines[: len(backend)]
    if not engines:
        besides = f" besides {', '.join(lost)}" if lost else ""
        raise UnsupportedError(f"no backend{besides} has a device on this machine; see `walle devices`")
    for engine in engines:
        engine.exact = exact
    return engines, forced


def backends() -> dict[str, list[Any]]:
    """Installed backends and the devices that each finds on this machine."""
    return {name: list(backend.devices()) for name, backend in load_plugins().backends.items()}
