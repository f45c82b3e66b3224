"""How often a process that holds much looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_OFTEN = (100_000, 50, 50)


def settle() -> None:
    """What there is stays until the process ends, and is looked at no more; new things are looked at rarely.

    For a process that has started and now answers one small question after the other: with Python's own numbers, it would
    spend more time on looking through what it holds than on answering.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_OFTEN)


@contextmanager
def settled() -> Iterator[None]:
    """`settle` for a while."""
    before = gc.get_threshold()
    settle()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
