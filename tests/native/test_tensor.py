"""Tensor: storage, views, conversions and refusals."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from walle_core import InputError, Tensor
from walle_core._native import storage_stats

DTYPES = [
    "float32",
    "float64",
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@given(arrays)
def test_round_trip_through_the_buffer_protocol(array):
    tensor = Tensor.wrap(array) if array.size else Tensor(array.shape, array.dtype.name)
    assert tensor.shape == array.shape and tensor.dtype == array.dtype.name
    back = np.asarray(tensor)
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@given(arrays.filter(lambda a: a.dtype.kind != "f"))
def test_tolist_agrees_with_numpy(array):
    assert Tensor.of(array).tolist() == array.tolist()


def test_numpy_sees_the_same_memory():
    tensor = Tensor((2, 3))
    view = np.asarray(tensor)
    view[1, 2] = 7
    assert tensor.tolist()[1][2] == 7
    assert view.ctypes.data == tensor.address and tensor.address % 64 == 0


def test_wrapping_copies_nothing():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert Tensor.wrap(array).address == array.ctypes.data
    assert Tensor.wrap(array).reshape(3, -1).shape == (3, 2)


def test_dlpack_both_ways():
    array = np.arange(12, dtype=np.float64).reshape(3, 4)
    np.testing.assert_array_equal(np.from_dlpack(Tensor.of(array)), array)
    np.testing.assert_array_equal(np.asarray(Tensor.from_dlpack(array)), array)


def test_bfloat16_rounds_to_nearest_even():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = [1.0, 1.00390625, -3.3895314e38, float("inf"), 1e-40, 0.3]
    got = np.asarray(Tensor.of(values, "bfloat16"))
    np.testing.assert_array_equal(got, np.array(values, np.float32).astype(ml_dtypes.bfloat16))


def test_a_handle_moves_ownership():
    live = storage_stats()[0]
    tensor = Tensor.of([1.0, 2.0])
    handle = tensor.export()
    del tensor
    opened = Tensor.from_handle(handle, (2,))
    assert opened.tolist() == [1.0, 2.0]
    del opened
    assert storage_stats()[0] == live


def test_a_handle_is_opened_once_and_stays_when_it_could_not_be():
    live = storage_stats()[0]
    handle = Tensor.of([1.0, 2.0]).export()
    with pytest.raises(InputError, match="of that size"):
        Tensor.from_handle(handle, (1000,))
    opened = Tensor.from_handle(handle, (2,))
    with pytest.raises(InputError, match="opened once"):
        Tensor.from_handle(handle, (2,))
    assert opened.tolist() == [1.0, 2.0]
    del opened
    assert storage_stats()[0] == live


def test_memory_is_kept_while_a_view_lives():
    view = np.asarray(Tensor.of(list(range(1000)), "int64"))
    for _ in range(50):
        Tensor((1000,), "int64")
    assert view.sum() == sum(range(1000))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tensor((-1,)),
        lambda: Tensor((1 << 40, 1 << 40)),
        lambda: Tensor((1,) * 13),
        lambda: Tensor((1,), "string"),
        lambda: Tensor.wrap(np.zeros((4, 4))[:, ::2]),
        lambda: Tensor.wrap(np.zeros(2, ">f4")),
        lambda: Tensor.wrap("text"),
        lambda: Tensor.wrap(b"abc", "float32", (1,)),
        lambda: Tensor.of([[1], [2, 3]]),
        lambda: Tensor.of([300], "uint8"),
        lambda: Tensor((2, 3)).reshape(4, -1),
        lambda: Tensor((2,)).item(),
        lambda: Tensor.from_handle(Tensor((1,)).address, (1,)),
        lambda: Tensor.from_handle(4097, (1,)),
        lambda: Tensor.from_handle(-1, (1,)),
        lambda: Tensor.from_handle("7", (1,)),
        lambda: Tensor.of([1 + 2j, "x"], "complex64"),
        lambda: Tensor.of(["x"], "bfloat16"),
    ],
)
def test_refusals_say_why(make):
    with pytest.raises(InputError, match=r".{10}"):
        make()


def test_read_only_memory_stays_read_only():
    tensor = Tensor.wrap(struct.pack("<2f", 1, 2), "float32", (2,))
    assert tensor.tolist() == [1.0, 2.0]
    assert not np.asarray(tensor).flags.writeable
