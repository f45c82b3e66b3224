# Moves of elements: what the manipulation functions are made of. Strides are in bytes.

def reshape_core(Array x, shape):
    """x's memory with another shape; one size may be -1. Raises ArrayValueError if the counts differ."""
    cdef Array out = Array.__new__(Array)
    sizes = [shape] if isinstance(shape, int) else [s.__index__() for s in shape]
    if -1 in sizes:
        known = 1
        for s in sizes:
            known *= s if s != -1 else 1
        if sizes.count(-1) > 1 or not known or x.tensor.count % known:
            raise ArrayValueError(f"cannot reshape {x.tensor.shape} to {tuple(sizes)}: the size -1 is not determined")
        sizes[sizes.index(-1)] = x.tensor.count // known
    total = 1
    for s in sizes:
        total *= s
    if total != x.tensor.count or min(sizes, default=0) < 0:
        raise ArrayValueError(f"cannot reshape {x.tensor.shape} to {tuple(sizes)}: the counts differ")
    out.tensor, out.code = x.tensor.reshape(sizes), x.code
    return out


def permute_core(Array x, axes):
    """A copy whose dimension i is x's dimension axes[i]; the caller has checked `axes`."""
    cdef Py_ssize_t sizes[12]
    cdef int64_t wide[12]
    cdef int64_t from_[12]
    cdef int64_t to[12]
    cdef int i, a, rank = x.tensor.rank
    for i in range(rank):
        a = axes[i]
        sizes[i] = x.tensor.sizes[a]
        wide[i] = sizes[i]
        from_[i] = x.tensor.strides[a]
    cdef Array out = new_array(x.code, rank, sizes)
    for i in range(rank):
        to[i] = out.tensor.strides[i]
    cdef char* d = <char*>out.tensor.data
    cdef const char* s = <const char*>x.tensor.data
    cdef int64_t item = x.tensor.itemsize
    cdef int64_t bad
    with nogil:
        bad = walle_copy(d, to, s, from_, rank, wide, item)
    checked(bad)
    return out


def broadcast_core(Array x, shape):
    """A copy of x repeated to `shape`. Raises ArrayValueError if it does not broadcast to it."""
    cdef Py_ssize_t sizes[12]
    cdef int64_t wide[12]
    cdef int64_t from_[12]
    cdef int64_t to[12]
    cdef int i, k, rank = sizes_of(shape, sizes)
    if rank < x.tensor.rank:
        raise ArrayValueError(f"shape {x.tensor.shape} does not broadcast to {tuple(shape)}")
    cdef Array out = new_array(x.code, rank, sizes)
    for i in range(rank):
        k = i - rank + x.tensor.rank
        wide[i], to[i], from_[i] = sizes[i], out.tensor.strides[i], 0
        if k >= 0 and x.tensor.sizes[k] != 1:
            if x.tensor.sizes[k] != sizes[i]:
                raise ArrayValueError(f"shape {x.tensor.shape} does not broadcast to {tuple(shape)}")
            from_[i] = x.tensor.strides[k]
    cdef char* d = <char*>out.tensor.data
    cdef const char* s = <const char*>x.tensor.data
    cdef int64_t item = x.tensor.itemsize, bad
    if out.tensor.count < 4096:
        bad = walle_copy(d, to, s, from_, rank, wide, item)
    else:
        with nogil:
            bad = walle_copy(d, to, s, from_, rank, wide, item)
    checked(bad)
    return out


def paste_core(Array dst, Array src, int axis, Py_ssize_t at):
    """Copies src into dst at position `at` of `axis`; all other sizes and the dtype are the same."""
    cdef Py_ssize_t outer = 1, inner = src.tensor.itemsize, o
    cdef int i
    for i in range(src.tensor.rank):
        if i < axis:
            outer *= src.tensor.sizes[i]
        elif i > axis:
            inner *= src.tensor.sizes[i]
    cdef Py_ssize_t wide = inner * dst.tensor.sizes[axis], part = inner * src.tensor.sizes[axis]
    cdef char* d = <char*>dst.tensor.data + at * inner
    cdef char* s = <char*>src.tensor.data
    for o in range(outer):
        memcpy(d + o * wide, s + o * part, part)


cdef Array indices_of(object value):
    cdef Array index = array_of(value, -1)
    if index.code == kBool or index.code >= kF32:
        raise ArrayIndexError(f"indices must be integers, not {index.dtype}")
    return cast_to(index, kI64)


def take_core(Array x, indices, int axis):
    """Slices of x along `axis` at the given indices, whose shape replaces that dimension. Raises ArrayIndexError."""
    cdef Array index = indices_of(indices)
    cdef Py_ssize_t sizes[12]
    cdef int64_t outer = 1, inner = x.tensor.itemsize
    cdef int i, r = index.tensor.rank, rank = x.tensor.rank - 1 + r
    cdef bint good
    if rank > 12:
        raise ArrayIndexError(f"the result would have {rank} dimensions, at most 12 are possible")
    for i in range(x.tensor.rank):
        if i < axis:
            sizes[i] = x.tensor.sizes[i]
            outer *= sizes[i]
        elif i > axis:
            sizes[i + r - 1] = x.tensor.sizes[i]
            inner *= x.tensor.sizes[i]
    for i in range(r):
        sizes[axis + i] = index.tensor.sizes[i]
    cdef Array out = new_array(x.code, rank, sizes)
    cdef char* d = <char*>out.tensor.data
    cdef const char* s = <const char*>x.tensor.data
    cdef const int64_t* at = <const int64_t*>index.tensor.data
    cdef int64_t count = index.tensor.count, size = x.tensor.sizes[axis]
    with nogil:
        bad = walle_gather(d, s, at, outer, count, size, inner)
    if checked(bad):
        raise ArrayIndexError(f"an index is out of range for axis {axis} of size {size}")
    return out


def take_along_core(Array x, Array indices, int axis):
    """Elements of x at positions `indices` of `axis`; other sizes are the same. Raises ArrayIndexError."""
    cdef Array index = indices_of(indices)
    cdef Array out = new_array(x.code, index.tensor.rank, index.tensor.sizes)
    cdef int64_t outer = 1, inner = 1
    cdef int i
    for i in range(x.tensor.rank):
        if i < axis:
            outer *= x.tensor.sizes[i]
        elif i > axis:
            inner *= x.tensor.sizes[i]
    if out.tensor.count and not gather_along(
            <char*>out.tensor.data, <const char*>x.tensor.data, <const int64_t*>index.tensor.data, outer,
            index.tensor.sizes[axis], x.tensor.sizes[axis], inner, x.tensor.itemsize):
        raise ArrayIndexError(f"an index is out of range for axis {axis} of size {x.tensor.sizes[axis]}")
    return out


def scatter_core(Array x, Array index, Array value):
    """x.flat[index] = value, where value is one element or one per index. Raises ArrayIndexError."""
    if x.tensor.readonly:
        raise ArrayValueError("the array's memory is read-only; work on a copy")
    if not scatter(<char*>x.tensor.data, <const char*>value.tensor.data, <const int64_t*>index.tensor.data,
                   index.tensor.count, x.tensor.count, x.tensor.itemsize, value.tensor.count == 1):
        raise ArrayIndexError(f"an index is out of range for {x.tensor.count} elements")


def true_positions(Array mask):
    """Positions of the true elements of a bool array in row-major order, int64."""
    cdef Py_ssize_t i, k = 0, n = mask.tensor.count
    cdef const uint8_t* p = <const uint8_t*>mask.tensor.data
    cdef Py_ssize_t count = 0
    for i in range(n):
        count += p[i] != 0
    cdef Array out = new_array(kI64, 1, &count)
    cdef int64_t* d = <int64_t*>out.tensor.data
    i = 0
    while k < count:  # without a branch on the values, which a processor could not predict
        d[k] = i
        k += p[i] != 0
        i += 1
    return out


def arange_core(start, Py_ssize_t count, step, int code):
    """start + i * step for i in 0..count-1, in int64, uint64 or float64, as dtype number `code`."""
    cdef Array out
    cdef Py_ssize_t i
    cdef double x, dx
    cdef int64_t k, dk
    if isinstance(start, int) and isinstance(step, int):
        out = new_array(kI64, 1, &count)
        k = <int64_t><uint64_t>(start & 0xFFFFFFFFFFFFFFFF)
        dk = <int64_t><uint64_t>(step & 0xFFFFFFFFFFFFFFFF)
        for i in range(count):
            (<uint64_t*>out.tensor.data)[i] = <uint64_t>k + <uint64_t>i * <uint64_t>dk
        if code == kU64:
            out = Array.of(TensorType.wrap(out.tensor, "uint64", (count,)))
    else:
        out = new_array(kF64, 1, &count)
        x, dx = start, step
        for i in range(count):
            (<double*>out.tensor.data)[i] = x + i * dx
    return cast_to(out, code)


def bounds_core(Array x):
    """(lowest, highest) of an int64 array; (0, 0) if it is empty."""
    cdef Py_ssize_t i
    cdef int64_t low = 0, high = 0
    cdef const int64_t* p = <const int64_t*>x.tensor.data
    for i in range(x.tensor.count):
        if i == 0 or p[i] < low:
            low = p[i]
        if i == 0 or p[i] > high:
            high = p[i]
    return low, high


def beside_core(value, int code):
    """Number of the dtype that a Python number beside an array of dtype number `code` leads to."""
    cdef int own = scalar_code(value)
    if own == kI64 and code == kBool or own == kF64 and code < kF32 or own == kC128 and code < kF32:
        return own
    return code + 2 if own == kC128 and code < kC64 else code
