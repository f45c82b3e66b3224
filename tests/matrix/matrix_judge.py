"""array-api-strict as the judge of a call: it takes what the standard defines and refuses all else."""

import warnings

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import array_api

from walle_core import matrix as xp

strict = pytest.importorskip("array_api_strict")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    xps = array_api.make_strategies_namespace(xp, api_version="2023.12")


def theirs(value):
    """The same argument for array-api-strict."""
    if isinstance(value, xp.Array):
        return strict.asarray(np.asarray(value).copy())
    if isinstance(value, (list, tuple)):
        return type(value)(theirs(v) for v in value)
    if isinstance(value, type(xp.float32)):
        return getattr(strict, value.name)
    return value


def find(namespace, name):
    """``linalg.det`` and the like."""
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def both(name, *arguments, **options):
    """(our result, the judge's) of a call; None where the judge refuses it: the standard does not define it."""
    given = [theirs(a) for a in arguments]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = find(strict, name)(*given, **{k: theirs(v) for k, v in options.items()})
        except (TypeError, ValueError, np.exceptions.AxisError, np.linalg.LinAlgError):
            return None
        return find(xp, name)(*arguments, **options), wanted


def compare(result, ulp=32, scale=0.0):
    """Dtypes, shapes and values, within `ulp` units of the last place and `scale` of them absolutely."""
    if result is None:
        return
    got, wanted = result
    if isinstance(wanted, (tuple, list)):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted, strict=True):
            compare((g, w), ulp, scale)
        return
    if not hasattr(wanted, "_array"):
        assert getattr(got, "name", got) == getattr(wanted, "_np_dtype", wanted)
        return
    wanted = np.asarray(wanted._array)
    assert got.dtype.name == wanted.dtype.name
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "fc":
        info = np.finfo(wanted.dtype)
        atol = info.smallest_normal * 8 + ulp * info.eps * scale
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(np.asarray(got), wanted, rtol=ulp * info.eps, atol=atol)
    else:
        np.testing.assert_array_equal(np.asarray(got), wanted)


def values(dtype):
    """Elements for which real and complex formulas are well conditioned."""
    limited = {"min_value": -50, "max_value": 50} if dtype[:5] == "float" else {}
    if dtype[:7] == "complex":
        return st.complex_numbers(min_magnitude=0.125, max_magnitude=5, width=64)
    return xps.from_dtype(getattr(xp, dtype), **limited)


def shapes(low=0, high=3, side=0, longest=4):
    """Strategy for shapes."""
    return xps.array_shapes(min_dims=low, max_dims=high, min_side=side, max_side=longest)


def drawn(dtype, shape=None):
    """Strategy for arrays of a dtype's name."""
    return xps.arrays(getattr(xp, dtype), shapes() if shape is None else shape, elements=values(dtype))
