"""Creation and manipulation against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matrix_arrays import ALL, agree, arrays, examples, ours

from walle_core import matrix as xp

SOME = examples(26, 400)


@SOME
@given(start=st.integers(-50, 50), stop=st.integers(-50, 50), step=st.integers(-7, 7).filter(bool))
def test_arange(start, stop, step):
    agree(xp.arange(start, stop, step), np.arange(start, stop, step))
    agree(xp.arange(start, stop, step, dtype=xp.float32), np.arange(start, stop, step, dtype="float32"))
    agree(xp.arange(start / 4, stop / 4, step / 4), np.arange(start / 4, stop / 4, step / 4))


@SOME
@given(start=st.floats(-100, 100), stop=st.floats(-100, 100), num=st.integers(0, 20), endpoint=st.booleans())
def test_linspace(start, stop, num, endpoint):
    got = xp.linspace(start, stop, num, endpoint=endpoint)
    np.testing.assert_allclose(np.asarray(got), np.linspace(start, stop, num, endpoint=endpoint), atol=1e-12)


@SOME
@given(rows=st.integers(0, 5), columns=st.integers(0, 5), k=st.integers(-6, 6))
def test_eye_and_triangles(rows, columns, k):
    agree(xp.eye(rows, columns, k=k, dtype=xp.int16), np.eye(rows, columns, k=k, dtype="int16"))
    x = np.arange(float(2 * rows * columns)).reshape(2, rows, columns)
    agree(xp.tril(ours(x), k=k), np.tril(x, k))
    agree(xp.triu(ours(x), k=k), np.triu(x, k))


@SOME
@given(x=arrays(), fill=st.integers(0, 1))
def test_full_and_likes(x, fill):
    agree(xp.full_like(ours(x), fill), np.full_like(x, fill))
    agree(xp.zeros_like(ours(x)), np.zeros_like(x))
    agree(xp.ones(x.shape, dtype=getattr(xp, x.dtype.name)), np.ones(x.shape, x.dtype))
    assert xp.empty_like(ours(x)).shape == x.shape


@SOME
@given(x=arrays(), to=st.sampled_from(ALL))
def test_astype(x, to):
    if x.dtype.kind == "c" and to[:7] != "complex" and to != "bool":
        with pytest.raises(TypeError):
            xp.astype(ours(x), getattr(xp, to))
        return
    if x.dtype.kind == "f" and np.dtype(to).kind in "iu":
        x = np.nan_to_num(np.clip(x, 0, 100))
    with np.errstate(all="ignore"):
        agree(xp.astype(ours(x), getattr(xp, to)), x.astype(to))


@SOME
@given(data=st.data())
def test_shapes(data):
    x = data.draw(arrays())
    order = data.draw(st.permutations(range(x.ndim)))
    agree(xp.permute_dims(ours(x), order), np.transpose(x, order))
    agree(xp.reshape(ours(x), (-1,)), x.reshape(-1))
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    agree(xp.expand_dims(ours(x), axis=axis), np.expand_dims(x, axis))
    agree(xp.squeeze(xp.expand_dims(ours(x), axis=axis), axis), x)
    shape = (*data.draw(st.lists(st.integers(0, 3), max_size=2)), *x.shape)
    agree(xp.broadcast_to(ours(x), shape), np.broadcast_to(x, shape))


@SOME
@given(data=st.data())
def test_flip_roll_move(data):
    x = data.draw(arrays(shapes=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    shift = data.draw(st.integers(-9, 9))
    agree(xp.flip(ours(x), axis=axis), np.flip(x, axis))
    agree(xp.flip(ours(x)), np.flip(x))
    agree(xp.roll(ours(x), shift, axis=axis), np.roll(x, shift, axis))
    agree(xp.roll(ours(x), shift), np.roll(x, shift))
    to = data.draw(st.integers(-x.ndim, x.ndim - 1))
    agree(xp.moveaxis(ours(x), axis, to), np.moveaxis(x, axis, to))
    assert len(xp.unstack(ours(x), axis=axis)) == x.shape[axis]


@SOME
@given(data=st.data())
def test_joining(data):
    x = data.draw(arrays(shapes=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    agree(xp.concat([ours(x), ours(x[..., :0] if axis in (-1, x.ndim - 1) else x)], axis=axis),
          np.concatenate([x, x[..., :0] if axis in (-1, x.ndim - 1) else x], axis=axis))  # fmt: skip
    agree(xp.concat([ours(x), ours(x)], axis=None), np.concatenate([x, x], axis=None))
    agree(xp.stack([ours(x), ours(x)], axis=axis), np.stack([x, x], axis=axis))
    times = data.draw(st.lists(st.integers(0, 3), max_size=4))
    agree(xp.tile(ours(x), tuple(times)), np.tile(x, times))
    count = data.draw(st.integers(0, 3))
    agree(xp.repeat(ours(x), count, axis=axis), np.repeat(x, count, axis))
    agree(xp.repeat(ours(x), count), np.repeat(x, count))
    counts = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=x.shape[axis], max_size=x.shape[axis])), "int64"
    )
    agree(xp.repeat(ours(x), ours(counts), axis=axis), np.repeat(x, counts, axis))


@SOME
@given(data=st.data())
def test_take(data):
    x = data.draw(arrays(shapes=hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    size = x.shape[axis]
    indices = np.array(data.draw(st.lists(st.integers(-size, size - 1), max_size=5)), "int64")
    agree(xp.take(ours(x), ours(indices), axis=axis), np.take(x, indices, axis))
    along = data.draw(hnp.arrays("int64", x.shape, elements=st.integers(-size, size - 1)))
    agree(xp.take_along_axis(ours(x), ours(along), axis=axis), np.take_along_axis(x, along, axis))


def test_large_transpositions():
    for shape, order in (
        ((300, 200), (1, 0)),
        ((7, 90, 80), (0, 2, 1)),
        ((40, 50, 60), (2, 0, 1)),
        ((33, 17, 5), (1, 2, 0)),
    ):
        for dtype in ("int8", "int16", "float32", "float64", "complex128"):
            x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
            agree(xp.permute_dims(ours(x), order), x.transpose(order))


def test_meshgrid_and_broadcast_arrays():
    x, y, z = np.arange(3), np.arange(4), np.arange(2)
    for indexing in ("xy", "ij"):
        for got, wanted in zip(xp.meshgrid(ours(x), ours(y), ours(z), indexing=indexing),
                               np.meshgrid(x, y, z, indexing=indexing), strict=True):  # fmt: skip
            agree(got, wanted)
    a, b = xp.broadcast_arrays(xp.ones((3, 1)), xp.zeros(4))
    assert a.shape == b.shape == (3, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: xp.reshape(xp.ones(6), (4, -1)),
        lambda: xp.permute_dims(xp.ones((2, 3)), (0, 0)),
        lambda: xp.squeeze(xp.ones((2, 1)), 0),
        lambda: xp.concat([xp.ones((2, 2)), xp.ones((3, 3))], axis=0),
        lambda: xp.stack([xp.ones(2), xp.ones(3)]),
        lambda: xp.broadcast_to(xp.ones(3), (4,)),
        lambda: xp.zeros((2, -1)),
        lambda: xp.zeros((1 << 40, 1 << 40)),
        lambda: xp.asarray([[1, 2], [3]]),
        lambda: xp.asarray([1], copy=False),
        lambda: xp.ones(2, device="gpu"),
        lambda: xp.arange(3, step=0),
        lambda: xp.repeat(xp.ones(2), -1),
    ],
)
def test_values_that_do_not_fit(call):
    with pytest.raises(ValueError):
        call()
