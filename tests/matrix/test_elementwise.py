"""Elementwise functions against NumPy: promotion, broadcasting, special values, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import ALL, FLOATS, INTEGERS, NUMERIC, SPECIAL, agree, arrays, examples, ours, pairs
from matrix_oracle import ONE, TWO, oracle

from walle_core import matrix as xp
from walle_core.errors import WalleError

LOOSE = {"cosh": 8, "sinh": 8, "tan": 8, "pow": 8, "logaddexp": 8, "tanh": 8}


@pytest.mark.parametrize("name", ONE)
@examples(13, 200)
@given(data=st.data())
def test_of_one(name, data):
    x = data.draw(arrays(ONE[name]))
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x)
        if name == "round" and x.dtype.kind in "iu":
            wanted = x
    agree(getattr(xp, name)(ours(x)), wanted, LOOSE.get(name, 4))


@pytest.mark.parametrize("name", TWO)
@examples(13, 200)
@given(data=st.data())
def test_of_two(name, data):
    kinds = TWO[name]
    x, y = data.draw(pairs(kinds))
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x, y)
    agree(getattr(xp, name)(ours(x), ours(y)), wanted, LOOSE.get(name, 4))


@pytest.mark.parametrize("name", ["add", "multiply", "less", "equal"])
@examples(33, 500)
@given(data=st.data())
def test_promotion(name, data):
    kinds = ALL if name == "equal" else [d for d in ALL if d[0] in "iuf"]
    x, y = data.draw(pairs(kinds, same=False))
    mixed = {x.dtype.kind, y.dtype.kind}
    if mixed == {"i", "u"} and "uint64" in (x.dtype.name, y.dtype.name) and name in ("less", "equal"):
        return  # NumPy compares these exactly, the standard does not define them
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x, y)
    agree(getattr(xp, name)(ours(x), ours(y)), wanted)


@pytest.mark.parametrize("dtype", INTEGERS)
@examples(10, 150)
@given(data=st.data())
def test_shifts(dtype, data):
    x = data.draw(arrays(dtype))
    places = data.draw(st.integers(0, 8 * x.dtype.itemsize - 1))
    by = np.full(x.shape, places, dtype)
    agree(xp.bitwise_left_shift(ours(x), ours(by)), x << by)
    agree(ours(x) >> places, x >> by)


@pytest.mark.parametrize("dtype", INTEGERS)
@examples(10, 150)
@given(data=st.data())
def test_integer_powers(dtype, data):
    x = data.draw(arrays(dtype))
    exponent = data.draw(st.integers(0, 9))
    agree(ours(x) ** exponent, x ** np.array(exponent, dtype))


@pytest.mark.parametrize("name", [n for n in ONE if FLOATS[0] in ONE[n]])
@pytest.mark.parametrize("dtype", FLOATS)
def test_large_arrays_agree_with_numpy(name, dtype):
    """An engine's kernels and the row loops give what NumPy gives, special values at any place included."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(5003) * 3).astype(dtype)
    x[rng.integers(0, x.size, 400)] = rng.choice(SPECIAL, 400)
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x)
    agree(getattr(xp, name)(ours(x)), wanted, 16)


@pytest.mark.parametrize("name", [n for n in TWO if FLOATS[0] in TWO[n]])
@pytest.mark.parametrize("shapes", [((5003,), (5003,)), ((100, 64), (64,)), ((100, 64), (100, 1)), ((5003,), ()),
                                    ((1700, 3), (1700, 1)), ((1, 5000), (2, 1)), ((40, 1, 50), (3, 1))])  # fmt: skip
def test_large_pairs_agree_with_numpy(name, shapes):
    rng = np.random.default_rng(2)
    x, y = ((rng.standard_normal(s) * 3).astype("float32") for s in shapes)
    for a in (x, y):
        if a.size > 4:
            a.reshape(-1)[rng.integers(0, a.size, a.size // 10)] = rng.choice(SPECIAL, a.size // 10)
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x, y)
    agree(getattr(xp, name)(ours(x), ours(y)), wanted, 32)


@examples(33, 500)
@given(
    x=arrays(NUMERIC), number=st.one_of(st.integers(0, 100), st.floats(-10, 10)), op=st.sampled_from("+-*")
)
def test_numbers_beside_arrays(x, number, op):
    run = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}[op]
    with np.errstate(all="ignore"):
        agree(run(ours(x), number), run(x, number))
        agree(run(number, ours(x)), run(number, x))


def test_clip():
    x = xp.asarray([-2.0, 0.5, 9.0], dtype=xp.float32)
    agree(xp.clip(x, -1, 1), np.array([-1, 0.5, 1], "float32"))
    agree(xp.clip(x, None, xp.asarray([0.0, 0.0, 10.0], dtype=xp.float32)), np.array([-2, 0, 9], "float32"))
    assert xp.clip(x) is not x


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: xp.sin(xp.asarray([True])) and xp.logical_and(xp.asarray([1]), xp.asarray([1])), TypeError),
        (lambda: xp.bitwise_and(xp.ones(2), xp.ones(2)), TypeError),
        (lambda: xp.less(xp.ones(2, dtype=xp.complex64), 1), TypeError),
        (lambda: xp.add(xp.ones(2), "x"), TypeError),
        (lambda: xp.add(1, 2), TypeError),
        (lambda: xp.ones(2) + xp.ones(3), ValueError),
        (lambda: xp.asarray([1], dtype=xp.int8) + 300, OverflowError),
        (lambda: xp.floor(xp.ones(1, dtype=xp.complex64)), TypeError),
        (lambda: xp.exp([1.0]), TypeError),
    ],
)
def test_errors_are_ours_and_pythons(call, kind):
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, WalleError)


@examples(20, 300)
@given(data=st.data())
def test_in_place(data):
    x, y = data.draw(pairs(INTEGERS + FLOATS))
    if np.broadcast_shapes(x.shape, y.shape) != x.shape:
        return
    a = ours(x)
    same = a
    with np.errstate(all="ignore"):
        a += ours(y)
        wanted = x + y
        a *= a
        wanted = wanted * wanted
    assert a is same
    agree(a, wanted)


def test_in_place_keeps_dtype_and_shape():
    a = xp.ones(3, dtype=xp.int32)
    with pytest.raises(TypeError):
        a += 1.5
    with pytest.raises(ValueError, match="shape"):
        a += xp.ones((2, 3), dtype=xp.int32)
    b = xp.ones((3, 3))
    b += b[0]
    agree(b, np.full((3, 3), 2.0))
