# Reductions over axes, which are sorted and not negative.

cdef extern from "walle/matrix/reduce.hpp" namespace "walle::matrix" nogil:
    ctypedef void (*reduce_fn)(void*, const void*, int64_t, int64_t, int64_t, const walle_stop*)
    reduce_fn find_reduction(int op, int code)
    reduce_fn find_cumulative(int op, int code)

cdef extern from *:
    """
    static inline int64_t walle_reduce(walle::matrix::reduce_fn fn, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) {
      return guarded([&] { return fn(d, s, outer, n, inner, walle_stop_of_thread()), 0; });
    }
    static inline int64_t walle_deviations(void* d, const void* s, const void* mean, int64_t outer, int64_t n, int code) {
      return guarded([&] { return walle::matrix::squared_deviations(d, s, mean, outer, n, code, walle_stop_of_thread()), 0; });
    }
    """
    int64_t walle_reduce(reduce_fn fn, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) nogil
    int64_t walle_deviations(void* d, const void* s, const void* mean, int64_t outer, int64_t n, int code) nogil

cdef struct Split:
    int rank
    int64_t outer, n, inner
    Py_ssize_t sizes[12]


cdef Array split_of(Array x, tuple axes, bint keepdims, Split* split):
    """The shape of a reduction's result and x as [outer, n, inner]: x itself, or a copy with its axes moved."""
    cdef int i, k = 0, count = len(axes), state = 0
    cdef Py_ssize_t size
    split.rank, split.outer, split.n, split.inner = 0, 1, 1, 1
    for i in range(x.tensor.rank):
        size = x.tensor.sizes[i]
        if k < count and axes[k] == i:
            k += 1
            if state == 2 and size != 1:
                state = 3
            elif size != 1:
                state = 1
            split.n *= size
            if keepdims:
                split.sizes[split.rank] = 1
                split.rank += 1
            continue
        if state == 0:
            split.outer *= size
        else:
            if state == 1 and size != 1:
                state = 2
            split.inner *= size
        split.sizes[split.rank] = size
        split.rank += 1
    if state == 3:  # axes apart: those that stay first, then the others
        split.outer, split.inner = split.outer * split.inner, 1
        return permute_core(x, (*[i for i in range(x.tensor.rank) if i not in axes], *axes))
    return x


def reduce_core(int op, Array x, tuple axes, bint keepdims):
    """Sum 0, product 1, maximum 2 or minimum 3 over `axes`, in x's dtype. Raises ArrayTypeError, ArrayValueError."""
    cdef Split split
    cdef reduce_fn fn = find_reduction(op, x.code)
    cdef walle_kernel_fn fast = NULL
    if fn == NULL:
        raise ArrayTypeError(f"{('sum', 'prod', 'max', 'min')[op]}() is not defined for {x.dtype}")
    cdef Array given = split_of(x, axes, keepdims, &split)
    cdef Array out = new_array(x.code, split.rank, split.sizes)
    if op >= 2 and split.n == 0:
        raise ArrayValueError(f"{('max', 'min')[op - 2]}() of no elements; shape {x.tensor.shape}, axes {axes}")
    cdef void* d = out.tensor.data
    cdef const void* s = given.tensor.data
    if out.tensor.count == 0:
        return out
    cdef int64_t bad
    if x.tensor.count < 4096:
        bad = walle_reduce(fn, d, s, split.outer, split.n, split.inner)
    else:
        if x.code == kF32:
            fast = engine_row(3, op)
        with nogil:
            if fast != NULL:
                bad = walle_fold(fast, d, s, split.outer, split.n, split.inner)
            else:
                bad = walle_reduce(fn, d, s, split.outer, split.n, split.inner)
    checked(bad)
    return out


def cumulative_core(int op, Array x, int axis):
    """Running sum 0 or product 1 along `axis`. Raises ArrayTypeError."""
    cdef Split split
    cdef reduce_fn fn = find_cumulative(op, x.code)
    if fn == NULL:
        raise ArrayTypeError(f"cumulative sums and products are not defined for {x.dtype}")
    split_of(x, (axis,), False, &split)
    cdef Array out = new_array(x.code, x.tensor.rank, x.tensor.sizes)
    cdef int i
    split.outer, split.inner = 1, 1
    for i in range(x.tensor.rank):
        if i < axis:
            split.outer *= x.tensor.sizes[i]
        elif i > axis:
            split.inner *= x.tensor.sizes[i]
    cdef void* d = out.tensor.data
    cdef const void* s = x.tensor.data
    cdef int64_t n = x.tensor.sizes[axis], bad
    if out.tensor.count:
        with nogil:
            bad = walle_reduce(fn, d, s, split.outer, n, split.inner)
        checked(bad)
    return out


def deviations_core(Array x, tuple axes, Array mean):
    """Sums of squared deviations of a float array from `mean`, which has the shape of the result with axes kept."""
    cdef Split split
    cdef Array given = split_of(x, axes, True, &split)
    if split.inner != 1:
        return None
    cdef Array out = new_array(x.code, split.rank, split.sizes)
    cdef void* d = out.tensor.data
    cdef const void* s = given.tensor.data
    cdef const void* m = mean.tensor.data
    cdef int code = x.code
    cdef int64_t bad
    with nogil:
        bad = walle_deviations(d, s, m, split.outer, split.n, code)
    checked(bad)
    return out


def where_core(Array condition, Array x, Array y):
    """x where a bool array is true, y elsewhere; all of one shape, x and y of one dtype."""
    cdef Array out = new_array(x.code, x.tensor.rank, x.tensor.sizes)
    cdef int64_t i, n = x.tensor.count, item = x.tensor.itemsize
    cdef const uint8_t* c = <const uint8_t*>condition.tensor.data
    cdef char* d = <char*>out.tensor.data
    cdef const char* p = <const char*>x.tensor.data
    cdef const char* q = <const char*>y.tensor.data
    with nogil:
        walle_select(d, c, p, q, n, item)
    return out
