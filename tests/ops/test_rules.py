"""Shape rules: broadcasting, axes, windows."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from walle_core.ops import rules

SHAPES = st.lists(st.sampled_from([0, 1, 2, 3]), max_size=4).map(tuple)


@given(st.lists(SHAPES, min_size=1, max_size=3))
def test_broadcast_is_numpys(shapes):
    try:
        wanted = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            rules.broadcast_shapes(*shapes)
    else:
        assert rules.broadcast_shapes(*shapes) == wanted
        assert all(rules.broadcasts_to(s, wanted) for s in shapes)


@given(SHAPES, SHAPES)
def test_matmul_shape_is_numpys(a, b):
    try:
        wanted = np.matmul(np.zeros(a), np.zeros(b)).shape
    except ValueError:
        with pytest.raises(ValueError):
            rules.matmul_shape(a, b)
    else:
        assert rules.matmul_shape(a, b) == wanted


def test_axes():
    assert rules.normal_axes([-1, 0], 3) == (0, 2)
    for bad in ([3], [-4], [0, -3]):
        with pytest.raises(ValueError, match="ax"):
            rules.normal_axes(bad, 3)


@given(
    size=st.integers(1, 12), kernel=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 3),
    begin=st.integers(0, 3), end=st.integers(0, 3), ceil=st.booleans(),
)  # fmt: skip
def test_windows_start_in_the_input_or_the_padding_before_it(
    size, kernel, stride, dilation, begin, end, ceil
):
    extent = dilation * (kernel - 1) + 1
    assume(not ceil or end < extent)  # what pooling demands
    starts = range(-begin, size + end, stride)
    wanted = [s for s in starts if s + extent <= size + end]
    if size + begin + end < extent:
        with pytest.raises(ValueError, match="does not fit"):
            rules.window_output(size, extent, stride, begin, end, ceil)
        return
    if ceil and (len(wanted) - 1) * stride + extent < size + begin + end:
        late = -begin + len(wanted) * stride
        wanted += [late] if late < size else []
    assert rules.window_output(size, extent, stride, begin, end, ceil) == len(wanted)


@given(
    size=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    mode=st.sampled_from(["UPPER", "LOWER"]),
)
def test_same_padding_keeps_the_size_over_the_stride(size, kernel, stride, mode):
    window = rules.Window.of([size], [kernel], [stride], None, None, f"SAME_{mode}")
    assert window.out == (-(-size // stride),)
    begin, end = window.pads
    assert abs(begin - end) <= 1
    assert begin <= end if mode == "UPPER" else begin >= end


def test_counts_of_a_padded_window():
    window = rules.Window.of([4], [3], [2], [1, 1])
    assert window.counts(include_pad=0) == [2.0, 3.0]
    assert window.counts(include_pad=1) == [3.0, 3.0]


def test_ceil_mode_counts_only_stated_padding():
    window = rules.Window.of([4], [3], [2], [0, 0], ceil_mode=1)
    assert window.out == (2,)
    assert window.full_pads == (0, 1)
    assert window.counts(include_pad=1) == [3.0, 2.0]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kernel": [0]}, "kernel_shape"),
        ({"kernel": []}, "missing"),
        ({"kernel": [2, 2]}, "entries"),
        ({"strides": [0]}, "strides"),
        ({"strides": [1 << 40]}, "strides"),
        ({"pads": [-1, 0]}, "pads"),
        ({"pads": [1]}, "pads"),
        ({"dilations": [-1]}, "dilations"),
        ({"auto_pad": "SAME"}, "auto_pad"),
        ({"kernel": [9]}, "does not fit"),
    ],
)
def test_bad_windows_are_named(attributes, message):
    with pytest.raises(ValueError, match=message):
        rules.Window.of([5], **{"kernel": [2], **attributes})
