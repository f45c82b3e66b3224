"""Draws of arrays for calls of the standard's functions, and of operands of products."""

from hypothesis import strategies as st
from matrix_judge import drawn, shapes

from walle_core import matrix as xp


def array(draw, dtype, shape=None):
    return draw(drawn(dtype, shape))


def just(draw, dtype, shape):
    return draw(drawn(dtype, st.just(tuple(shape))))


def axis_of(draw, x, extra=0):
    return draw(st.integers(-x.ndim - extra, x.ndim - 1 + extra))


def some(draw, dtype, low=1, side=0):
    return array(draw, dtype, shapes(low=low, side=side))


def of(dtype):
    return getattr(xp, dtype)


def product(draw, dtype):
    m, k, n = draw(st.tuples(*[st.integers(0, 5)] * 3))
    lead = draw(shapes(0, 2))
    return (just(draw, dtype, (*lead, m, k)), just(draw, dtype, (*lead[1:], k, n))), {}


def tensordot(draw, dtype):
    x = some(draw, dtype)
    axes = draw(st.integers(0, x.ndim))
    return (x, just(draw, dtype, (*x.shape[x.ndim - axes :], 2))), {"axes": axes}


def vecdot(draw, dtype):
    x = some(draw, dtype)
    return (x, just(draw, dtype, x.shape)), {"axis": draw(st.integers(-x.ndim, -1))}
