"""Every function of the standard beside array-api-strict with every dtype; with test_standard.py the whole namespace."""

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from matrix_arrays import ALL, examples
from matrix_judge import both, compare, strict
from standard_calls import APART, CALLS, EXTENSIONS, NAMES, REDUCTIONS, SORTED
from standard_extension_calls import AFTER

from walle_core import matrix as xp
from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES

# (function, dtype): why it is not compared.
SKIPS: dict[tuple[str, str], str] = {
    ("linalg.matrix_rank", "bool"): "the standard has it for floating dtypes; the judge takes bool as well",
}


def check(name, dtype, data):
    arguments, options = CALLS[name](data.draw, dtype)
    result = both(name, *arguments, **options)
    if result is None or (name == "can_cast" and not result[1]):  # casts to another kind are left open
        return
    if name in AFTER:
        result = tuple(AFTER[name](r) for r in result)
    if name[:5] == "empty":  # the values are whatever was there
        result = tuple(xp.zeros_like(r) if isinstance(r, xp.Array) else strict.zeros_like(r) for r in result)
    compare(result, 300, scale=64.0)


# One case a function: with one for each dtype hypothesis nests its settings 1,000 deep, and fails where CI is set.
@pytest.mark.parametrize("name", CALLS)
@examples(2)
@given(data=st.data())
def test_call(name, data):
    for dtype in ALL:
        if (name, dtype) not in SKIPS:
            note(f"dtype {dtype}")
            check(name, dtype, data)


def test_every_function_has_a_test():
    functions = {
        n for n in NAMES if callable(getattr(strict, n)) and not isinstance(getattr(xp, n), type(xp.int8))
    }
    functions |= {f"{part}.{n}" for part, n in EXTENSIONS}
    tested = {*CALLS, *APART, *UNARY_NAMES, *BINARY_NAMES, *REDUCTIONS, *SORTED}
    assert not functions - tested, functions - tested
    assert not tested - functions - {"linalg.LinAlgError"}


def test_few_are_left_out():
    cases = len(ALL) * (len(CALLS) + len(UNARY_NAMES) + len(BINARY_NAMES) + len(REDUCTIONS) + len(SORTED))
    assert len(SKIPS) <= 0.02 * cases
    assert all(name in CALLS and dtype in ALL and reason for (name, dtype), reason in SKIPS.items())


@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "complex128"])
def test_limits_of_floats(name):
    ours, judge = xp.finfo(getattr(xp, name)), strict.finfo(getattr(strict, name))
    for field in ("bits", "eps", "max", "min", "smallest_normal"):
        assert getattr(ours, field) == getattr(judge, field), field
    assert ours.dtype.name == np.dtype(judge.dtype._np_dtype).name
