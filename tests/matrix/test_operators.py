"""Python's operators on arrays beside array-api-strict: two arrays, an array and a number on either side, in place."""

import operator
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import ALL, examples
from matrix_judge import compare, drawn, shapes, strict, theirs

from walle_core import matrix as xp

TWO = "add sub mul truediv floordiv mod pow and_ or_ xor lshift rshift eq ne lt le gt ge matmul".split()
IN_PLACE = "iadd isub imul itruediv ifloordiv imod ipow iand ior ixor ilshift irshift imatmul".split()
ONE = "neg pos abs invert".split()
NUMBERS = {"b": [True, False], "i": [2, 3], "u": [2, 3], "f": [2.0, 0.5, 2], "c": [2.0, 1 + 2j, 2]}


def both(function, *operands):
    """(our result, the judge's); None where the judge refuses it."""
    judged = [theirs(o) for o in operands]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = function(*judged)
        except (TypeError, ValueError):
            return None
        return function(*operands), wanted


def operands(data, name, dtype):
    """Two arrays that broadcast; small and positive where the operator needs it."""
    shape = data.draw(shapes(1, 2, 1, 3))
    if name.endswith("matmul"):
        shape = (2, 2)
    x, y = data.draw(drawn(dtype, st.just(shape))), data.draw(drawn(dtype, st.just(shape)))
    if x.dtype.kind in "iu" and name.strip("i_") in ("pow", "lshift", "rshift"):
        x, y = x % 5, xp.abs(y % 5)
    return x, y


@pytest.mark.parametrize("name", TWO)
@examples(2)
@given(data=st.data())
def test_two_arrays(name, data):
    for dtype in ALL:
        x, y = operands(data, name, dtype)
        compare(both(getattr(operator, name), x, y), 300, scale=64.0)
        if not name.endswith("matmul"):
            compare(both(getattr(operator, name), x, y[:1]), 300, scale=64.0)


@pytest.mark.parametrize("name", [n for n in TWO if n != "matmul"])
@examples(2)
@given(data=st.data())
def test_an_array_and_a_number(name, data):
    for dtype in ALL:
        x, _ = operands(data, name, dtype)
        for number in NUMBERS[x.dtype.kind]:
            compare(both(getattr(operator, name), x, number), 300, scale=64.0)
            compare(both(getattr(operator, name), number, x), 300, scale=64.0)


@pytest.mark.parametrize("name", IN_PLACE)
@examples(2)
@given(data=st.data())
def test_in_place(name, data):
    for dtype in ALL:
        x, y = operands(data, name, dtype)
        judged = theirs(x)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                judged = getattr(operator, name)(judged, theirs(y))
            except (TypeError, ValueError):
                continue
            same = x
            x = getattr(operator, name)(x, y)
        assert x is same
        compare((x, judged), 300, scale=64.0)


@pytest.mark.parametrize("name", ONE)
@examples(2)
@given(data=st.data())
def test_one_array(name, data):
    for dtype in ALL:
        compare(both(getattr(operator, name), data.draw(drawn(dtype))))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("to", [bool, int, float, complex, operator.index])
def test_conversions_to_python(to, dtype):
    x = xp.asarray(1, dtype=getattr(xp, dtype))
    try:
        wanted = to(theirs(x))
    except TypeError:
        with pytest.raises(TypeError):
            to(x)
        return
    assert to(x) == wanted
    assert type(to(x)) is type(wanted)
    with pytest.raises(TypeError):
        to(xp.ones((2,), dtype=getattr(xp, dtype)))


def test_constants():
    for name in ("e", "inf", "nan", "newaxis", "pi"):
        ours, judge = getattr(xp, name), getattr(strict, name)
        assert ours == judge or (ours != ours and judge != judge)
