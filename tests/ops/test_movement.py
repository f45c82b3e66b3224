"""Transforms, gathers and resampling against NumPy written another way, and against their own decompositions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core.backends.interpreter import evaluate
from walle_core.errors import ShapeError
from walle_core.graph.raster import lower
from walle_core.ops import catalogue
from walle_core.ops.element_types import NUMBERS, element_type, number_of
from walle_core.ops.interpolation import Axis, Sampling, progression, samples
from walle_core.ops.padding import runs
from walle_core.testing.cases import cases

TRANSFORMS = sorted(n for n, op in catalogue().items() if op.kind == "transform")


def counting(*shape, dtype=np.float32):
    return np.arange(1, np.prod(shape, dtype=int) + 1, dtype=dtype).reshape(shape)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_regions_do_what_the_reference_does(name):
    op = catalogue()[name]
    assert op.regions is not None and op.samples
    for case in cases(op):
        graph, report = lower(case.graph)
        assert report.transforms == 1, case.name
        for got, want in zip(evaluate(graph, case.feeds), evaluate(case.graph, case.feeds), strict=True):
            np.testing.assert_array_equal(got, want)


def _slow_slice(data, start, end, step):
    """ONNX's rule for one axis, index by index."""
    n = len(data)
    start, end = (v + n if v < 0 else v for v in (start, end))
    start = min(max(start, 0), n if step > 0 else n - 1)
    end = min(max(end, 0 if step > 0 else -1), n if step > 0 else n - 1)
    found, i = [], start
    while (i < end) if step > 0 else (i > end):
        found.append(data[i])
        i += step
    return found


BOUND = st.one_of(st.integers(-9, 9), st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]))


@given(st.integers(1, 7), BOUND, BOUND, st.sampled_from([-7, -3, -2, -1, 1, 2, 3, 7]))
def test_slice_clamps_like_onnx(ops, n, start, end, step):
    x = counting(n)
    (got,) = ops.reference("Slice", x, [start], [end], [0], [step])
    assert got.tolist() == _slow_slice(x.tolist(), start, end, step)


@given(
    st.integers(1, 6), st.integers(0, 14), st.integers(0, 14), st.sampled_from(["reflect", "edge", "wrap"])
)
def test_runs_of_a_padded_axis(n, before, after, mode):
    line = [0] * (n + before + after)
    for start, count, first, step in runs(n, before, after, mode):
        for i in range(count):
            line[start + i] = first + i * step
    assert line == np.pad(np.arange(n), (before, after), mode=mode).tolist()


@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.integers(5, 7))
@settings(max_examples=40, deadline=None)
def test_col2im_is_the_adjoint_of_im2col(ops, kernel, stride, pad, dilation, size):
    if dilation * (kernel - 1) + 1 > size + 2 * pad or pad >= kernel * dilation:
        return
    how = {"strides": (stride,) * 2, "pads": (pad,) * 4, "dilations": (dilation,) * 2}
    x = counting(1, 2, size, 6, dtype=np.float64)
    (columns,) = ops.reference("Im2Col", x, kernel_shape=(kernel, kernel), **how)
    y = np.cos(counting(*columns.shape, dtype=np.float64))
    flat = y.reshape(1, -1, columns.shape[3])
    for run in (ops.reference, ops.parts):
        (image,) = run("Col2Im", flat, [size, 6], [kernel, kernel], **how)
        np.testing.assert_allclose((columns * y).sum(), (x * image).sum(), rtol=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_im2col_against_loops(ops, layout):
    x = counting(2, 3, 5, 6)
    given_x = x if layout == "NCHW" else np.moveaxis(x, 1, -1).copy()
    (got,) = ops.reference("Im2Col", given_x, kernel_shape=(2, 3), strides=(2, 1), pads=(1, 0, 0, 2),
                                 dilations=(1, 2), layout=layout, fill=-1.0)  # fmt: skip
    padded = np.full((2, 3, 6, 8), -1.0, np.float32)
    padded[:, :, 1:, :6] = x
    want = np.stack(
        [padded[:, :, i : i + 2, j : j + 5 : 2].reshape(2, 3, 6) for i in (0, 2, 4) for j in range(4)], -1
    )
    np.testing.assert_array_equal(got, want if layout == "NCHW" else want.transpose(0, 3, 2, 1))


@st.composite
def resizes(draw):
    shape = draw(st.tuples(st.integers(1, 2), st.integers(2, 6), st.integers(2, 6)))
    how = {
        "mode": draw(st.sampled_from(["nearest", "linear", "cubic"])),
        "coordinate_transformation_mode": draw(
            st.sampled_from(
                ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
            )
        ),
        "nearest_mode": draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])),
        "exclude_outside": draw(st.integers(0, 1)),
        "antialias": draw(st.integers(0, 1)),
        "axes": (1, 2),
    }
    return shape, [draw(st.integers(1, 13)), draw(st.integers(1, 13))], how


@given(resizes())
@settings(max_examples=80, deadline=None)
def test_resize_equals_its_decomposition_and_keeps_constants(ops, case):
    shape, sizes, how = case
    x = np.cos(counting(*shape))
    (want,) = ops.reference("Resize", x, None, None, sizes, **how)
    (got,) = ops.parts("Resize", x, None, None, sizes, **how)
    np.testing.assert_allclose(got, want, atol=1e-5)
    (flat,) = ops.reference("Resize", np.full(shape, 3.0, np.float32), None, None, sizes, **how)
    np.testing.assert_allclose(flat, 3.0, rtol=1e-5)


def test_crop_and_resize_extrapolates(ops):
    x, roi = counting(1, 1, 4, 4), np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], np.float32)
    how = {
        "mode": "linear",
        "coordinate_transformation_mode": "tf_crop_and_resize",
        "extrapolation_value": 10.0,
    }
    y = catalogue()["Resize"].reference(x, roi, None, np.array([1, 1, 3, 3]), **how)
    assert (y[0, 0, -1] == 10).all() and y[0, 0, 0, 0] != 10


def test_integer_upscaling_is_pure_movement(ops):
    graph, feeds = ops.node("Resize", [counting(1, 2, 3, 4), None, None, [1, 2, 6, 12]], 1, {})
    from walle_core.graph.decompose import decompose

    lowered, _ = lower(decompose(graph, keep=lambda *_: False))
    assert [n.op for n in lowered.nodes] == ["Raster"]
    np.testing.assert_array_equal(
        evaluate(lowered, feeds)[0], counting(1, 2, 3, 4).repeat(2, axis=2).repeat(3, axis=3)
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_progression(indices):
    found = progression(indices)
    if found is not None:
        first, step, repeats = found
        assert indices == [first + step * (i // repeats) for i in range(len(indices))]


def test_progression_finds_regular_patterns():
    assert progression([2, 2, 4, 4, 6, 6]) == (2, 2, 2)
    assert progression([0, 1, 2]) == (0, 1, 1)
    assert progression([0, 0, 1]) is None


def test_nearest_weights_sum_to_one():
    for mode in ("nearest", "linear", "cubic"):
        for taps in samples(Axis(7, 5, 5 / 7), Sampling(mode, antialias=mode != "nearest")):
            assert abs(sum(w for _, w in taps) - 1) < 1e-6


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_gather_nd_equals_its_decomposition(ops, data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    batch = data.draw(st.integers(0, len(shape) - 1))
    depth = data.draw(st.integers(1, len(shape) - batch))
    lead = [*shape[:batch], data.draw(st.integers(1, 3))]
    index = np.stack([
        np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=int(np.prod(lead)), max_size=int(np.prod(lead))))).reshape(lead)
        for n in shape[batch : batch + depth]
    ], -1)  # fmt: skip
    x = counting(*shape)
    (want,) = ops.reference("GatherND", x, index, batch_dims=batch)
    for where in np.ndindex(*lead):
        np.testing.assert_array_equal(want[where], x[(*where[:batch], *index[where])])
    np.testing.assert_array_equal(ops.parts("GatherND", x, index, batch_dims=batch)[0], want)


def test_strings_move_like_numbers():
    x = np.array([["a", "b", "c"], ["d", "e", "f"]], object)
    reference = {n: catalogue()[n].reference for n in catalogue()}
    assert reference["Transpose"](x).tolist() == x.T.tolist()
    assert reference["Pad"](x, np.array([0, 1, 0, 0])).tolist() == [["", "a", "b", "c"], ["", "d", "e", "f"]]
    assert reference["Gather"](x, np.array([1]), axis=1).tolist() == [["b"], ["e"]]
    assert reference["Slice"](x, [0], [2], [1]).tolist() == [["a", "b"], ["d", "e"]]
    assert reference["Unique"](np.array(["b", "a", "b"], object))[0].tolist() == ["a", "b"]
    assert reference["Cast"](np.array(["1.5", "INF", "-3"], object), to=1).tolist() == [1.5, np.inf, -3]
    assert reference["Cast"](np.array([1.5, np.nan, 3e8, 2], np.float32), to=8).tolist() == [
        "1.5",
        "NaN",
        "300000000",
        "2",
    ]


def test_numbers_of_element_types_go_both_ways():
    for number in NUMBERS:
        assert number_of(element_type(number)) == number
    with pytest.raises(ValueError, match="no element type"):
        element_type(99)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "words"),
    [
        ("Transpose", [counting(2, 3)], {"perm": (0, 0)}, "repeat"),
        ("Transpose", [counting(2, 3)], {"perm": (0,)}, "each of the 2"),
        ("Reshape", [counting(2, 3), [4, -1]], {}, "do not fill"),
        ("Reshape", [counting(2, 3), [-1, -1]], {}, "at most once"),
        ("Reshape", [counting(2, 3), [2**40, 2**40]], {}, "do not fill"),
        ("Squeeze", [counting(2, 3), [0]], {}, "size 1"),
        ("Expand", [counting(1), [2**50]], {}, "more than"),
        ("Tile", [counting(2), [2**60]], {}, "more than"),
        ("Tile", [counting(2), [-1]], {}, ">= 0"),
        ("Slice", [counting(4), [0], [4], [0], [0]], {}, "step of 0"),
        ("Slice", [counting(4), [0], [4], [3]], {}, "outside"),
        ("Split", [counting(4), [1, 2]], {}, "do not sum"),
        ("Concat", [counting(2, 3), counting(3, 3)], {"axis": 1}, "only along axis"),
        ("Pad", [counting(3), [-2, -2]], {}, "crop more"),
        ("Pad", [counting(3), [2**60, 0]], {}, "more than"),
        ("DepthToSpace", [counting(1, 3, 2, 2)], {"blocksize": 2}, "multiple"),
        ("Im2Col", [counting(1, 1, 2, 2)], {"kernel_shape": (3, 3)}, "no window"),
        ("Gather", [counting(3), [5]], {}, "outside"),
        ("GatherND", [counting(2, 3), [[0, 0, 0]]], {}, "address"),
        ("TopK", [counting(3), [4]], {}, "outside"),
        ("OneHot", [[1], [2**50], counting(2)], {}, "2\\*\\*40"),
        ("Cast", [counting(3)], {"to": 77}, "no element type"),
        ("ScatterElements", [counting(3), [0], counting(1)], {"reduction": "avg"}, "none of"),
    ],
)
def test_wrong_operands_are_refused_by_name(ops, op, operands, attributes, words):
    with pytest.raises(ShapeError, match=words) as caught:
        ops.infer(op, *operands, **attributes)
    assert op in str(caught.value)
