"""Fused chains give, bit for bit, what the function gives by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import FLOATS, INTEGERS, arrays, examples, ours, pairs

from walle_core import matrix as xp

CHAINS = [
    lambda a, b: xp.tanh((a * 2 + b) * b - a),
    lambda a, b: (a - b) * (a - b) + a,
    lambda a, b: (a > b, a + b),
    lambda a, b: xp.exp(-abs(a)) / (1 + b * b),
    lambda a, b: xp.astype(a, xp.float32) * 0.5 + xp.astype(b > 0, xp.float32),
    lambda a, b: xp.sqrt(xp.square(a) + xp.square(b)),
    lambda a, b: 1 - a,
]


def same(got, wanted):
    for g, w in zip(
        got if isinstance(got, tuple) else (got,),
        wanted if isinstance(wanted, tuple) else (wanted,),
        strict=True,
    ):
        assert g.dtype is w.dtype
        assert g.shape == w.shape
        assert np.asarray(g).tobytes() == np.asarray(w).tobytes() or np.array_equal(
            np.asarray(g), np.asarray(w), equal_nan=True
        )


@pytest.mark.parametrize("chain", CHAINS)
@examples(16, 250)
@given(data=st.data())
def test_equals_the_function(chain, data):
    x, y = data.draw(pairs(INTEGERS + FLOATS, same=False))
    run = xp.fused(chain)
    for _ in range(2):
        same(run(ours(x), ours(y)), chain(ours(x), ours(y)))


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("shapes", [((9001,), (9001,)), ((90, 101), (101,)), ((90, 101), (90, 1)), ((9001,), ()),
                                    ((9001, 3), (3,)), ((1, 3000), (4, 1))])  # fmt: skip
def test_large_arrays(chain, shapes):
    rng = np.random.default_rng(5)
    a, b = (ours(np.asarray(rng.standard_normal(s), "float32")) for s in shapes)
    same(xp.fused(chain)(a, b), chain(a, b))


@examples(16, 250)
@given(x=arrays(FLOATS))
def test_a_chain_runs_once_recorded(x):
    calls = []

    @xp.fused
    def function(a):
        calls.append(1)
        return a * a + 1

    for _ in range(3):
        function(ours(x))
    assert len(calls) == 1


def test_what_is_no_chain_runs_as_it_stands():
    a = xp.arange(5000, dtype=xp.float32)
    same(xp.fused(lambda x: xp.sum(x * x))(a), xp.sum(a * a))
    same(xp.fused(lambda x: x[1:] + x[:-1])(a), a[1:] + a[:-1])
    same(xp.fused(lambda x: x if bool(xp.any(x > 3)) else -x)(a), a)
    same(xp.fused(lambda x, *, scale=1: x * scale)(a, scale=3), a * 3)
    same(xp.fused(lambda x: x)(a), a)
    with pytest.raises(TypeError):
        xp.fused(lambda x: xp.bitwise_and(x, x))(a)


def test_long_chains_and_many_values():
    def long(x):
        for _ in range(40):
            x = x * 1.01 + 0.5
        return x

    def wide(x):
        parts = [x + i for i in range(12)]
        return (
            parts[0] * parts[1]
            + (parts[2] - parts[3]) * parts[4]
            + parts[5] * (parts[6] + parts[7] * parts[8])
        )

    a = xp.arange(5000, dtype=xp.float64)
    same(xp.fused(long)(a), long(a))
    same(xp.fused(wide)(a), wide(a))


def test_values_of_several_widths_share_registers():
    def mixed(x):
        narrow = xp.astype(x, xp.int8)
        return (
            xp.astype(narrow + 1, xp.float64) * 2
            + xp.astype(x > 1, xp.float64)
            + xp.astype(xp.astype(x, xp.float64), xp.int16)
        )

    a = ours(np.random.default_rng(6).uniform(-90, 90, 7001).astype("float32"))
    same(xp.fused(mixed)(a), mixed(a))


def test_numbers_and_constants():
    a, c = xp.arange(6000, dtype=xp.float32), xp.full(6000, 2.0, dtype=xp.float32)
    run = xp.fused(lambda x, n: (x + c) * n - 1)
    for n in (2, 2.5, 3):
        same(run(a, n), (a + c) * n - 1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "subtract", "multiply", "divide", "maximum", "minimum", "abs", "negative", "sqrt", "reciprocal", "floor", "exp",
             "square", "tanh"]  # some that stay in registers, some that do not
        ),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


def drawn_chain(steps):
    """Each step takes operands or earlier values, the last one the value before it."""

    def chain(a, b, c, n):
        made = [a, b, c, n]
        for at, (name, i, j) in enumerate(steps):
            x = made[-1] if at + 1 == len(steps) and at else made[i % len(made)]
            y = made[j % len(made)]
            x = a if isinstance(x, float) else x
            two = name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
            made.append(getattr(xp, name)(x, y) if two else getattr(xp, name)(x))
        return made[-1]

    return chain


@pytest.mark.parametrize(
    "shapes", [((5003,), (5003,), ()), ((97, 53), (53,), (97, 1)), ((4099,), (1,), (4099,))]
)
@examples(40, 2000)
@given(steps=STEPS, number=st.sampled_from([2.0, -0.5, 0.0]))
def test_any_chain_of_float32(shapes, steps, number):
    rng = np.random.default_rng(7)
    a, b, c = (ours(np.asarray(rng.standard_normal(s), "float32")) for s in shapes)
    chain = drawn_chain(steps)
    with np.errstate(all="ignore"):
        same(xp.fused(chain)(a, b, c, number), chain(a, b, c, number))
