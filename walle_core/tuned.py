"""What tuning measured, kept per device: the search takes the fastest of the measured candidates (`walle tune`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walle_core.cache import cache_folder, warn_once, write_atomically
from walle_core.errors import CacheError
from walle_core.files import read_regular

MAX_BYTES = 1 << 24

Measured = dict[str, dict[str, float]]  # `search.tuned_key` of a node -> `search.variant` -> seconds


def _path(key: str) -> Path:
    import hashlib  # here: needs a C module that not every interpreter can load

    return cache_folder() / f"tuned-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def load_tuned(key: str) -> Measured:
    """What was measured on a device (`cost.rates_key`); nothing where there is none or the file is damaged."""
    try:
        data = json.loads(read_regular(_path(key), MAX_BYTES).decode("utf-8"))
        if data["key"] != key:
            return {}
        return {str(k): {str(a): _positive(s) for a, s in v.items()} for k, v in data["tuned"].items()}
    except (OSError, CacheError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _positive(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} are no seconds")
    return float(value)


def save_tuned(key: str, tuned: Mapping[str, Mapping[str, float]]) -> None:
    """Keeps measurements; warns where nothing can be written. Plans made without them are the caller's to drop."""
    try:
        write_atomically(_path(key), [json.dumps({"key": key, "tuned": tuned}).encode("utf-8")])
    except OSError as error:
        warn_once(f"cannot keep what was tuned in {cache_folder()} ({error}); it will not be used")


def forget_tuned() -> int:
    """Removes all that tuning measured; gives on how many devices that was. Plans are the caller's to drop."""
    found = list(cache_folder().glob("tuned-*.json"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
