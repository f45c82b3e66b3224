"""Convolutions against plain loops, and their decompositions against their references."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from walle_core.errors import ShapeError

LIMIT = settings(max_examples=40, deadline=None)


def loops(x, w, strides, pads, dilations, group):
    """Convolution by its definition, in float64."""
    n = x.ndim - 2
    extent = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilations, strict=False)]
    out = [(x.shape[2 + i] + pads[i] + pads[n + i] - extent[i]) // strides[i] + 1 for i in range(n)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    each = w.shape[1]
    for m, *place in product(range(w.shape[0]), *map(range, out)):
        first = m // (w.shape[0] // group) * each
        for tap in product(*map(range, w.shape[2:])):
            at = [
                p * s - b + t * d for p, s, b, t, d in zip(place, strides, pads, tap, dilations, strict=False)
            ]
            if all(0 <= a < size for a, size in zip(at, x.shape[2:], strict=False)):
                for c in range(each):
                    y[(slice(None), m, *place)] += x[(slice(None), first + c, *at)] * w[(m, c, *tap)]
    return y


@st.composite
def convolutions(draw, ranks=(1, 2, 3)):
    n = draw(st.sampled_from(ranks))

    def per_axis(low, high, count=n):
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    kernel, strides, dilations = per_axis(1, 3), per_axis(1, 3), per_axis(1, 2)
    group, each, outs = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    spatial, pads = per_axis(1, 6 if n < 3 else 4), per_axis(0, 2, 2 * n)
    attributes = {"strides": strides, "dilations": dilations, "group": group}
    rng = np.random.RandomState(draw(st.integers(0, 99)))
    x = rng.uniform(-1, 1, (draw(st.integers(0, 2)), group * each, *spatial))
    w = rng.uniform(-1, 1, (group * outs, each, *kernel))
    b = rng.uniform(-1, 1, group * outs) if draw(st.booleans()) else None
    return x, w, b, pads, attributes


def fits(x, w, pads, attributes):
    n = x.ndim - 2
    return all(
        x.shape[2 + i] + pads[i] + pads[n + i] > attributes["dilations"][i] * (w.shape[2 + i] - 1)
        for i in range(n)
    )


@LIMIT
@given(convolutions())
def test_conv_is_the_sum_of_its_definition(ops, near, case):
    x, w, b, pads, attributes = case
    assume(fits(x, w, pads, attributes))
    (y,) = ops.agree("Conv", x, w, b, pads=pads, **attributes)
    wanted = loops(x, w, attributes["strides"], pads, attributes["dilations"], attributes["group"])
    near(y, wanted if b is None else wanted + b.reshape(-1, *[1] * (x.ndim - 2)))


@LIMIT
@given(convolutions(), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
def test_conv_with_automatic_padding(ops, case, mode):
    x, w, b, _, attributes = case
    assume(mode != "VALID" or fits(x, w, [0] * 6, attributes))
    (y,) = ops.agree("Conv", x, w, b, auto_pad=mode, **attributes)
    if mode != "VALID":
        assert y.shape[2:] == tuple(
            -(-d // s) for d, s in zip(x.shape[2:], attributes["strides"], strict=False)
        )


ACTIVATIONS = {
    "": lambda v: v,
    "Relu": lambda v: np.maximum(v, 0),
    "Clip": lambda v: np.clip(v, -0.25, 0.5),
    "LeakyRelu": lambda v: np.where(v < 0, -0.25 * v, v),
    "HardSwish": lambda v: v * np.clip(v / 6 + 0.5, 0, 1),
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "Tanh": np.tanh,
}


@LIMIT
@given(convolutions(), st.sampled_from(sorted(ACTIVATIONS)), st.booleans(), st.sampled_from(["NCHW", "NHWC"]))
def test_fused_conv_is_conv_and_what_follows(ops, near, case, name, residual, layout):
    x, w, b, pads, attributes = case
    assume(fits(x, w, pads, attributes))
    wanted = ops.reference("Conv", x, w, b, pads=pads, **attributes)[0]
    extra = np.random.RandomState(7).uniform(-1, 1, wanted.shape) if residual else None
    wanted = ACTIVATIONS[name](wanted + (extra if residual else 0))
    if layout == "NHWC":
        x, wanted = np.moveaxis(x, 1, -1).copy(), np.moveaxis(wanted, 1, -1)
        extra = np.moveaxis(extra, 1, -1).copy() if residual else None
    (y,) = ops.parts(
        "FusedConv",
        x,
        w,
        b,
        extra,
        pads=pads,
        layout=layout,
        activation=name,
        act_alpha=-0.25,
        act_beta=0.5,
        **attributes,
    )
    near(y, wanted)


@LIMIT
@given(convolutions(), st.data())
def test_conv_transpose_is_the_adjoint_of_conv(ops, near, case, data):
    """<conv(x, w), y> = <x, conv_transpose(y, w)> for all x and y."""
    x, w, _, pads, attributes = case
    assume(fits(x, w, pads, attributes) and x.size)
    y = ops.reference("Conv", x, w, pads=pads, **attributes)[0]
    y = np.random.RandomState(3).uniform(-1, 1, y.shape)
    n = x.ndim - 2
    extent = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], attributes["dilations"], strict=False)]
    lost = tuple(
        (x.shape[2 + i] + pads[i] + pads[n + i] - extent[i]) % attributes["strides"][i] for i in range(n)
    )
    assume(
        all(
            v < max(s, d)
            for v, s, d in zip(lost, attributes["strides"], attributes["dilations"], strict=False)
        )
    )
    back = ops.agree("ConvTranspose", y, w, pads=pads, output_padding=lost, **attributes)[0]
    assert back.shape == x.shape
    left = np.sum(ops.reference("Conv", x, w, pads=pads, **attributes)[0] * y)
    np.testing.assert_allclose(left, np.sum(x * back), rtol=1e-9, atol=1e-9)


@LIMIT
@given(convolutions(ranks=(1, 2)), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "NOTSET"]), st.integers(0, 2))
def test_conv_transpose_to_a_given_size(ops, case, mode, grown):
    x, w, _, _, attributes = case
    group = attributes["group"]
    y = np.random.RandomState(3).uniform(-1, 1, (1, w.shape[0], *x.shape[2:]))
    sizes = tuple(d * s + grown for d, s in zip(x.shape[2:], attributes["strides"], strict=False))
    (given_size,) = ops.agree("ConvTranspose", y, w, auto_pad=mode, output_shape=sizes, **attributes)
    assert given_size.shape == (1, w.shape[1] * group, *sizes)
    if mode != "NOTSET":
        (same,) = ops.agree("ConvTranspose", y, w, auto_pad=mode, **attributes)
        assert same.shape[2:] == tuple(
            d * s for d, s in zip(x.shape[2:], attributes["strides"], strict=False)
        )


@LIMIT
@given(convolutions(ranks=(1, 2)), st.data())
def test_unmoved_deformable_conv_is_conv(ops, near, case, data):
    x, w, b, pads, attributes = case
    assume(fits(x, w, pads, attributes) and x.size)
    y = ops.reference("Conv", x, w, b, pads=pads, **attributes)[0]
    groups = data.draw(st.sampled_from([1, attributes["group"]]))
    taps, n = int(np.prod(w.shape[2:])), x.ndim - 2
    offset = np.zeros((x.shape[0], groups * taps * n, *y.shape[2:]))
    mask = np.full((x.shape[0], groups * taps, *y.shape[2:]), 0.5)
    near(ops.agree("DeformConv", x, w, offset, b, pads=pads, offset_group=groups, **attributes)[0], y)
    half = ops.agree("DeformConv", x, w, offset, None, mask, pads=pads, offset_group=groups, **attributes)[0]
    near(2 * half + (0 if b is None else b.reshape(-1, *[1] * n)), y)


@LIMIT
@given(convolutions(ranks=(2,)), st.integers(0, 99))
def test_moved_deformable_conv_agrees_with_its_parts(ops, case, seed):
    x, w, b, pads, attributes = case
    assume(fits(x, w, pads, attributes))
    shape = ops.reference("Conv", x, w, b, pads=pads, **attributes)[0].shape
    rng = np.random.RandomState(seed)
    offset = rng.uniform(-3, 3, (x.shape[0], 2 * int(np.prod(w.shape[2:])), *shape[2:]))
    ops.agree("DeformConv", x, w, offset, b, pads=pads, **attributes)


def test_deformable_conv_interpolates(ops):
    x = np.arange(5.0).reshape(1, 1, 5)
    offset = np.array([0.0, 0.25, 0.5, -2.5, 0.5]).reshape(1, 1, 5)
    (y,) = ops.reference("DeformConv", x, np.ones((1, 1, 1)), offset)
    assert y.tolist() == [[[0.0, 1.25, 2.5, 0.5, 2.0]]]  # 3 - 2.5 = 0.5; half of 4 + 0.5 is outside


@LIMIT
@given(convolutions(ranks=(1, 2)), st.integers(0, 255), st.integers(-128, 127))
def test_integer_conv_subtracts_zero_points(ops, case, x_zero, w_zero):
    _, w, _, pads, attributes = case
    rng = np.random.RandomState(1)
    x = rng.randint(0, 256, (2, attributes["group"] * w.shape[1], *[6] * (w.ndim - 2))).astype(np.uint8)
    w = rng.randint(-128, 128, w.shape).astype(np.int8)
    zeros = np.array(x_zero, np.uint8), np.full(w.shape[0], w_zero, np.int8)
    (y,) = ops.agree("ConvInteger", x, w, *zeros, pads=pads, **attributes)
    wanted = loops(x.astype(float) - x_zero, w.astype(float) - w_zero, attributes["strides"], pads,
                   attributes["dilations"], attributes["group"])  # fmt: skip
    np.testing.assert_array_equal(y, wanted.astype(np.int32))


@pytest.mark.parametrize(
    ("x", "w", "bias", "attributes", "message"),
    [
        ((1, 3, 8, 8), (4, 2, 3, 3), None, {}, "input channels"),
        ((1, 4, 8, 8), (3, 2, 3, 3), None, {"group": 2}, "multiple of group"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"group": 0}, "group 0"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"group": -1}, "group -1"),
        ((1, 4, 8), (4, 4, 3, 3), None, {}, "rank"),
        ((4, 8), (4, 4), None, {}, "rank"),
        ((1, 4, 2, 2), (4, 4, 3, 3), None, {}, "does not fit"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"kernel_shape": (2, 2)}, "kernel_shape"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"strides": (0, 1)}, "strides"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"pads": (1, 1)}, "pads"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"pads": (1 << 40,) * 4}, "pads"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"pads": ((1 << 31) - 1,) * 4}, "elements"),
        ((1, 4, 8, 8), (4, 4, 3, 3), (3,), {}, "bias"),
        ((1, 4, 8, 8), (4, 4, 3, 3), None, {"auto_pad": "SOME"}, "auto_pad"),
    ],
)
def test_misfits_are_named(ops, x, w, bias, attributes, message):
    operands = [np.zeros(s, np.float32) if s else None for s in (x, w, bias)]
    for op in ("Conv", "FusedConv"):
        with pytest.raises(ShapeError, match=message) as error:
            ops.infer(op, *operands, **attributes)
        assert "'node'" in str(error.value)
