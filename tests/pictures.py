"""Images that hypothesis draws, and how results are compared with OpenCV's."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

BORDERS = (0, 1, 2, 4)  # constant, replicate, reflect, reflect 101


@st.composite
def images(
    draw: Any,
    dtypes: tuple[str, ...] = ("uint8", "float32"),
    channels: tuple[int, ...] = (1, 3, 4),
    least: int = 1,
    most: int = 40,
) -> np.ndarray:
    """H x W or H x W x C; smooth or noise."""
    height, width = draw(st.integers(least, most)), draw(st.integers(least, most))
    count, dtype = draw(st.sampled_from(channels)), draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    shape = (height, width) if count == 1 else (height, width, count)
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    if dtype == "uint8" and draw(st.booleans()):  # flat parts and extremes
        return rng.choice(np.array([0, 1, 127, 128, 254, 255], "uint8"), shape)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -40000), min(info.max, 70000), shape, endpoint=True).astype(dtype)


def close(mine: Any, theirs: np.ndarray, levels: int = 1, relative: float = 1e-4) -> None:
    """Same shape and dtype; integers within `levels`, floats within `relative` of the largest value."""
    got = np.asarray(mine)
    assert got.dtype == theirs.dtype
    if got.shape != theirs.shape:  # OpenCV drops a last dimension of 1
        got = got.reshape(theirs.shape)
    assert got.shape == theirs.shape
    if got.dtype.kind == "f":
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)))
        np.testing.assert_allclose(got, theirs, atol=relative * scale, rtol=relative)
    else:
        assert np.abs(got.astype(np.int64) - theirs.astype(np.int64)).max(initial=0) <= levels
