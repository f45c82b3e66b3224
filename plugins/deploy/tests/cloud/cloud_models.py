"""Larger models as functions, which another process finds by name."""

import os
import time

import numpy as np

PATTERNS = np.random.default_rng(7).normal(size=(10, 64)).astype(np.float32)


def labels(inputs):
    """The pattern that each picture is most like."""
    return [{"label": int(np.argmax(PATTERNS @ np.asarray(one["x"])))} for one in inputs]


def seven_dies(inputs):
    """Ends its process at a seven."""
    found = labels(inputs)
    if {"label": 7} in found:
        os._exit(1)
    return found


def seven_hangs(inputs):
    """Hangs at a seven."""
    found = labels(inputs)
    if {"label": 7} in found:
        time.sleep(60)
    return found
