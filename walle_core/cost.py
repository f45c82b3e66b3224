"""Predicted seconds from measured rates, and the cache that keeps the rates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from walle_core.cache import cache_folder, warn_once, write_atomically
from walle_core.errors import BackendError, WalleError
from walle_core.files import read_regular
from walle_core.protocols import Backend
from walle_core.types import Candidate, Device, DeviceRates

# The datasheet guess (design 4.3), used until a device is measured: one 3 GHz core with 8-lane fused multiply-add.
GUESS = DeviceRates(
    ops_per_s={"gemm": 4.0e10, "elementwise": 4.0e9},
    bytes_per_s=((2.0**15, 2e11), (2.0**20, 1e11), (2.0**25, 5e10), (math.inf, 2e10)),
    dispatch_s=1e-6,
    call_s=1e-5,
)


MAX_BYTES = 1 << 20  # of a file of rates; a real one has some hundred


def bandwidth(rates: DeviceRates, nbytes: float) -> float:
    """Bytes per second for a working set of `nbytes`."""
    for limit, rate in rates.bytes_per_s:
        if nbytes <= limit:
            return rate
    return rates.bytes_per_s[-1][1]


OVERLAP = 0.7  # share of the shorter of computing and moving data that hides behind the longer


@attrs.frozen
class LinearCost:
    """C = Q / P + S (paper, section on semi-auto search), with bytes / B beside Q / P, most of which overlap (ADR 12)."""

    def seconds(self, candidate: Candidate, rates: DeviceRates) -> float:
        """Predicted seconds of a candidate; a rate class that was not measured takes the slowest one known."""
        known = rates.ops_per_s
        rate = known.get(candidate.rate) or min(known.values())
        compute = candidate.ops / rate if candidate.ops else 0.0
        moving = candidate.bytes / bandwidth(rates, candidate.bytes)
        hidden = OVERLAP * min(compute, moving)
        return compute + moving - hidden + rates.dispatch_s * candidate.dispatches


def _path(key: str) -> Path:
    import hashlib  # here: needs a C module that not every interpreter can load

    return cache_folder() / f"rates-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not value > 0:
        raise ValueError(f"{value!r} is not a rate")
    return float(value)


def _finite(value: Any) -> float:
    if _number(value) == math.inf:
        raise ValueError(f"{value} is not finite")
    return float(value)


def _seconds(value: Any) -> float:
    return 0.0 if type(value) in (int, float) and value == 0 else _finite(value)


def _decode(text: str, key: str) -> DeviceRates:
    data = json.loads(text)
    if data["key"] != key:
        raise ValueError("another device")
    return DeviceRates(
        ops_per_s={str(k): _finite(v) for k, v in data["ops_per_s"].items()},
        bytes_per_s=tuple((_number(a), _finite(b)) for a, b in data["bytes_per_s"]),
        dispatch_s=_seconds(data["dispatch_s"]),
        call_s=_seconds(data["call_s"]),
        transfer_bytes_per_s=_number(data["transfer_bytes_per_s"]),
    )


def load_rates(key: str) -> DeviceRates | None:
    """Kept rates of a device; None when there are none or the file is damaged (it is then measured again)."""
    try:
        rates = _decode(read_regular(_path(key), MAX_BYTES).decode("utf-8"), key)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return rates if rates.ops_per_s and rates.bytes_per_s else None


def save_rates(key: str, rates: DeviceRates) -> None:
    """Keeps rates atomically. A directory that cannot be written costs a warning, nothing else."""
    data = {"key": key, **attrs.asdict(rates)}
    try:
        write_atomically(_path(key), [json.dumps(data).encode("utf-8")])
    except OSError as error:
        warn_once(
            f"cannot keep the calibration in {cache_folder()} ({error}); it will be measured again next time"
        )


_measured: dict[str, DeviceRates] = {}
CALIBRATION = 6  # raised when what is measured, or how, changes: older results are then measured again


def rates_key(backend: Backend, device: Device, threads: int) -> str:
    """What kept rates belong to."""
    return f"{backend.name} {backend.version} {device.key} threads={threads} calibration={CALIBRATION}"


def rates_of(
    backend: Backend, device: Device, threads: int = 1, progress: Callable[[str], None] = lambda _: None
) -> DeviceRates:
    """Rates of a device: from this process, from the cache, else measured once.

    Raises BackendError if the device's own measurement fails.
    """
    key = rates_key(backend, device, threads)
    if key not in _measured:
        rates = load_rates(key)
        if rates is None:
            try:
                rates = backend.calibrate(device, threads, progress)
            except WalleError:
                raise
            except Exception as error:
                raise BackendError(
                    f"calibration of {backend.name} on {device.name} failed: {error}"
                ) from error
            save_rates(key, rates)
        _measured[key] = rates
    return _measured[key]
