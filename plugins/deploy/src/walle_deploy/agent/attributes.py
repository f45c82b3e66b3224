"""What a device is, for policies: system, memory, processors, and the backends with the speed that was measured before."""

from __future__ import annotations

import logging
import os
import platform
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.profile import Value

THREADS = (2, 1, 4)  # for which rates are looked up, in this order; 2 is what Session measures
_log = logging.getLogger(__name__)


def attributes(app_version: str = "", backends: bool = True) -> dict[str, Value]:
    """The attributes of this device. Looks for the devices of all installed backends, and measures nothing.

    ``speed.NAME`` are billions of operations per second of the backend's kept rates, by matrix products.
    """
    found: dict[str, Value] = {
        "os": platform.system().lower() or "unknown",
        "os_version": platform.release()[:128] or "unknown",
        "machine": platform.machine() or "unknown",
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 1,
    }
    if memory := _memory_mb():
        found["memory_mb"] = memory
    if app_version:
        found["app_version"] = app_version
    return found | (_backends() if backends else {})


def _memory_mb() -> int:
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20)
    except (AttributeError, ValueError, OSError):
        return 0


def _backends() -> dict[str, Value]:
    from walle_core.plugins import load_plugins

    usable: list[str] = []
    speeds: dict[str, Value] = {}
    for name, backend in load_plugins().backends.items():
        try:
            devices = backend.devices()
        except Exception as error:  # a driver may fail in any way; its backend is then not offered
            _log.warning("backend %s: %s", name, error)
            continue
        if devices:
            usable.append(name)
            if speed := _speed(backend, devices[0]):
                speeds[f"speed.{name}"] = speed
    return {"backends": usable, **speeds}


def _speed(backend: Any, device: Any) -> float:
    """Billions of operations per second; 0 if the device was not measured yet."""
    from walle_core.cost import load_rates, rates_key

    for threads in THREADS:
        try:
            rates = load_rates(rates_key(backend, device, threads))
        except (WalleError, OSError):
            continue
        if rates is not None:
            best = rates.ops_per_s.get("gemm") or max(rates.ops_per_s.values())
            return float(f"{best / 1e9:.3g}")
    return 0.0
