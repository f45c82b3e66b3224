"""Arguments of NumPy's functions for xp's, and their results beside each other: arrays, numbers, tuples and lists of them."""

import numpy as np

from walle_core import matrix as xp


def like(x):
    """The same argument for xp: arrays become Arrays."""
    if isinstance(x, np.ndarray):
        return xp.Array.of(np.ascontiguousarray(x)) if x.ndim else xp.asarray(x.item())
    return type(x)(like(v) for v in x) if isinstance(x, (list, tuple)) else x


def same(got, wanted):
    if isinstance(wanted, (list, tuple)) and not isinstance(got, xp.Array):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted, strict=True):
            same(g, w)
        return
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert got.dtype.kind == wanted.dtype.kind, (got.dtype, wanted.dtype)
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)
