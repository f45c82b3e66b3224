# Indexing: integers, slices, None and the ellipsis here; arrays of integers and masks in indexing.py.

cdef struct View:
    int rank            # of the result
    Py_ssize_t offset   # bytes
    Py_ssize_t sizes[12]
    Py_ssize_t strides[12]


cdef int view_of(Array x, object key, View* view) except -1:
    """The view that a basic key selects; 0 if the key has arrays in it. Raises ArrayIndexError."""
    cdef Tensor t = x.tensor
    cdef int axis = 0, used = 0, k
    cdef Py_ssize_t i, start, stop, step, n
    cdef bint dots = False
    if not isinstance(key, tuple):
        key = (key,)
    for part in key:
        if isinstance(part, slice):
            used += 1
        elif part is None:
            pass
        elif part is Ellipsis:
            if dots:
                raise ArrayIndexError("an index can have one ellipsis only")
            dots = True
        elif isinstance(part, bool) or type(part) is Array and ((<Array>part).code == kBool or
                                                                (<Array>part).tensor.rank) or isinstance(part, list):
            return 0
        else:
            used += 1
    if used > t.rank:
        raise ArrayIndexError(f"{used} indices for an array of {t.rank} dimensions")
    view.rank, view.offset = 0, 0
    for part in key if dots else (*key, Ellipsis):
        if view.rank >= 12 and part is not Ellipsis:
            raise ArrayIndexError("the result would have more than 12 dimensions")
        if isinstance(part, slice):
            start, stop, step = part.indices(t.sizes[axis])
            n = (stop - start + step - (1 if step > 0 else -1)) // step if (stop > start) == (step > 0) and \
                stop != start else 0
            view.sizes[view.rank], view.strides[view.rank] = n, step * t.strides[axis]
            if n:
                view.offset += start * t.strides[axis]
            view.rank += 1
            axis += 1
        elif part is None:
            view.sizes[view.rank], view.strides[view.rank] = 1, 0
            view.rank += 1
        elif part is Ellipsis:
            for k in range(t.rank - used):
                view.sizes[view.rank], view.strides[view.rank] = t.sizes[axis], t.strides[axis]
                view.rank += 1
                axis += 1
        else:
            try:
                i = part.__index__()
            except AttributeError:
                raise ArrayIndexError(f"an index must be an integer, slice, None, ellipsis or array, not {part!r}") from None
            if i < -t.sizes[axis] or i >= t.sizes[axis]:
                raise ArrayIndexError(f"index {i} is out of range for axis {axis} of size {t.sizes[axis]}")
            view.offset += (i + t.sizes[axis] if i < 0 else i) * t.strides[axis]
            axis += 1
    return 1


cdef object get_item(Array x, object key):
    cdef View view
    cdef int64_t wide[12]
    cdef int64_t from_[12]
    cdef int64_t to[12]
    cdef int i
    if not view_of(x, key, &view):
        from walle_core.matrix.indexing import get
        return get(x, key)
    cdef Array out = new_array(x.code, view.rank, view.sizes)
    for i in range(view.rank):
        wide[i], from_[i], to[i] = view.sizes[i], view.strides[i], out.tensor.strides[i]
    cdef char* d = <char*>out.tensor.data
    cdef const char* s = <const char*>x.tensor.data + view.offset
    cdef int64_t item = x.tensor.itemsize, bad
    if out.tensor.count < 4096:
        bad = walle_copy(d, to, s, from_, view.rank, wide, item)
    else:
        with nogil:
            bad = walle_copy(d, to, s, from_, view.rank, wide, item)
    checked(bad)
    return out


cdef Array stored(Array x, object value):
    """What `x[...] = value` stores, in x's dtype. Raises ArrayTypeError for values of a higher kind."""
    cdef Array given
    cdef int own = scalar_code(value)
    if own >= 0:
        if own == kC128 and x.code < kC64 or own == kF64 and x.code < kF32:
            raise ArrayTypeError(f"{type(value).__name__} {value!r} cannot be stored in an array of {x.dtype}")
        return scalar_array(value, x.code)
    given = array_of(value, -1)
    if given.code != x.code and "biufc".index(given.dtype.kind.replace("u", "i")) > "biufc".index(x.dtype.kind.replace("u", "i")):
        raise ArrayTypeError(f"{given.dtype} cannot be stored in an array of {x.dtype}; use astype()")
    return cast_to(given, x.code)


cdef int set_item(Array x, object key, object value) except -1:
    cdef View view
    cdef int64_t wide[12]
    cdef int64_t from_[12]
    cdef int64_t to[12]
    cdef int i, k, extra
    if x.tensor.readonly:
        raise ArrayValueError("the array's memory is read-only; work on a copy")
    cdef Array given = stored(x, value)
    if not view_of(x, key, &view):
        from walle_core.matrix.indexing import put
        put(x, key, given)
        return 0
    if given.tensor.storage != NULL and given.tensor.storage == x.tensor.storage:
        given = given.copy()
    extra = given.tensor.rank - view.rank
    for i in range(extra):
        if given.tensor.sizes[i] != 1:
            raise ArrayValueError(f"shape {given.tensor.shape} does not broadcast to {[view.sizes[i] for i in range(view.rank)]}")
    for i in range(view.rank):
        k = i + extra
        wide[i], to[i], from_[i] = view.sizes[i], view.strides[i], 0
        if k >= 0 and given.tensor.sizes[k] != 1:
            if given.tensor.sizes[k] != view.sizes[i]:
                raise ArrayValueError(f"shape {given.tensor.shape} does not broadcast to "
                                      f"{[view.sizes[i] for i in range(view.rank)]}")
            from_[i] = given.tensor.strides[k]
    checked(walle_copy(<char*>x.tensor.data + view.offset, to, <const char*>given.tensor.data, from_, view.rank, wide,
                       x.tensor.itemsize))
    return 0
