"""The folder in which measurements and plans are kept, and how files get there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where Walle keeps what it can make again: WALLE_CACHE, else the user's cache directory."""
    if chosen := os.environ.get("WALLE_CACHE"):
        return Path(chosen)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        import tempfile

        try:
            base = tempfile.gettempdir()
        except FileNotFoundError:  # nor a folder that it may write to, as processes of tasks: nothing is kept
            base = os.devnull
    return Path(base) / "walle"


def write_atomically(path: Path, pieces: Iterable[Any]) -> None:
    """Writes a file of the cache, readable by its owner only; readers see the old one or the new one. Raises OSError."""
    import tempfile  # here: brings compression, random numbers and hashes with it

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


_warned: list[bool] = []  # one warning per process says it


def warn_once(what: str) -> None:
    """Warns that the cache cannot be used."""
    if not _warned:
        _warned.append(True)
        warnings.warn(f"{what}. Set WALLE_CACHE to a writable directory.", stacklevel=3)
