"""A clock that nobody sets, shared by all processes of a machine, which goes on while the machine sleeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def steady() -> float:
    """Its seconds."""
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


def steady_us() -> int:
    """Its microseconds."""
    return time.monotonic_ns() // 1000 if _BOOT is None else time.clock_gettime_ns(_BOOT) // 1000


def clock_name() -> str:
    """The same in all processes that share the clock; another one after the machine starts again."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return f"process {os.getpid()} {os.urandom(8).hex()}"
