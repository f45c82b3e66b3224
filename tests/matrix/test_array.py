"""The array object: memory shared with Tensors, NumPy and DLPack, conversions, printing."""

import numpy as np
import pytest
from matrix_arrays import ALL, agree, ours

from walle_core import InputError, Tensor
from walle_core import matrix as xp
from walle_core._native.tensor import storage_stats


@pytest.mark.parametrize("dtype", ALL)
def test_memory_is_shared_with_numpy_and_tensors(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    if x.dtype.kind != "c":
        a = xp.asarray(x)
        a[0, 0] = 1
        assert x[0, 0] == 1
        np.asarray(a)[1, 2] = 0
        assert a[1, 2].item() == 0
    tensor = Tensor((2, 3), dtype)
    b = xp.Array.of(tensor)
    assert b.tensor is tensor
    b[1] = xp.ones(3, dtype=getattr(xp, dtype))
    agree(xp.asarray(tensor), np.asarray(b))
    assert np.shares_memory(np.asarray(b), np.asarray(tensor))


def test_read_only_memory_is_not_written_to():
    a = xp.asarray(Tensor.wrap(b"\0" * 16, "float32", (4,)))
    for write in (lambda: a.__setitem__(0, 1.0), lambda: a.__iadd__(1.0), lambda: a.__setitem__(a == 0, 1.0)):
        with pytest.raises(ValueError, match="read-only"):
            write()
    agree(a + 1, np.ones(4, "float32"))


def test_dlpack():
    a = xp.arange(5)
    shared = np.from_dlpack(a)
    a[2] = 9
    assert shared[2] == 9
    agree(xp.from_dlpack(np.arange(4.0)), np.arange(4.0))
    b = xp.from_dlpack(a, copy=True)
    b[0] = 7
    assert a[0].item() == 0
    assert a.__dlpack_device__() == (1, 0)


def test_python_numbers():
    assert int(xp.asarray(3)) == 3 and float(xp.asarray(2.5)) == 2.5 and complex(xp.asarray(1j)) == 1j
    assert bool(xp.asarray(True)) and [10, 20][xp.asarray(1)] == 20
    assert xp.asarray([[1.5]]).item() == 1.5
    assert xp.asarray(2**63).dtype is xp.uint64
    for call, kind in ((lambda: int(xp.ones(2)), TypeError), (lambda: xp.asarray(1.0).__index__(), TypeError),
                       (lambda: len(xp.asarray(1)), TypeError), (lambda: hash(xp.ones(1)), TypeError),
                       (lambda: xp.ones(2).item(), ValueError), (lambda: xp.Array(), TypeError)):  # fmt: skip
        with pytest.raises(kind):
            call()


def test_nested_sequences():
    agree(xp.asarray([[1, 2], [3, 4.5]]), np.array([[1, 2], [3, 4.5]]))
    agree(xp.asarray([True, False]), np.array([True, False]))
    agree(xp.asarray([xp.ones(2), xp.zeros(2)]), np.array([[1.0, 1.0], [0.0, 0.0]]))
    agree(xp.asarray([]), np.array([]))
    agree(xp.asarray([1, 1j]), np.array([1, 1j]))


def test_printing():
    assert repr(xp.asarray([[1, 2], [3, 4]])) == "Array([[1, 2],\n       [3, 4]], dtype=int64)"
    assert "..." in repr(xp.zeros(2000))
    assert repr(xp.asarray(1.5)) == "Array(1.5, dtype=float64)"


def test_transposes_and_iteration():
    x = np.arange(6.0).reshape(2, 3)
    agree(ours(x).T, x.T)
    agree(xp.ones((2, 3, 4)).mT, np.ones((2, 4, 3)))
    assert [row.tolist() for row in ours(x)] == x.tolist()
    with pytest.raises(ValueError, match="2 dimensions"):
        xp.abs(xp.ones(3).T)


def test_no_storage_is_left_behind():
    before = storage_stats()[0]
    a = xp.ones((300, 300), dtype=xp.float32)
    for _ in range(50):
        a = a * 1.5 - xp.mean(a)
    del a
    assert storage_stats()[0] == before


def test_blocks_that_were_let_go_are_used_again_without_mixing_values():
    for size in (40_000, 50_000, 1_000_000, 45_000):
        a = xp.full(size, 3.0, dtype=xp.float32)
        assert not np.asarray(xp.zeros(size, dtype=xp.float32)).any()
        assert float(xp.sum(a)) == 3.0 * size


def test_tensors_of_other_dtypes_are_refused():
    with pytest.raises(InputError, match="float16"):
        xp.Array.of(Tensor((2,), "float16"))
