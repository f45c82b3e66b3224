# Python numbers and nested sequences as elements of arrays, and back.

cdef int put_scalar(void* p, int code, object value) except -1:
    """Writes one Python number as an element of `code`."""
    cdef double complex z
    if code == kBool:
        (<uint8_t*>p)[0] = 1 if value else 0
    elif code < kF32:
        whole = int(value)
        bits = 8 * kItem[code]
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if code < kU8 else (0, (1 << bits) - 1)
        if not low <= whole <= high:
            raise ArrayOverflowError(f"{whole} does not fit {(<tuple>_NAMES)[code]}, which holds {low} to {high}")
        if code < kU8:
            put_int(p, code, whole)
        else:
            put_uint(p, code, whole)
    elif code == kF32:
        (<float*>p)[0] = <float><double>value
    elif code == kF64:
        (<double*>p)[0] = value
    else:
        z = value
        if code == kC64:
            (<float*>p)[0], (<float*>p)[1] = <float>z.real, <float>z.imag
        else:
            (<double*>p)[0], (<double*>p)[1] = z.real, z.imag
    return 0


cdef inline void put_int(void* p, int code, int64_t v) noexcept:
    if code == kI8:
        (<int8_t*>p)[0] = <int8_t>v
    elif code == kI16:
        (<int16_t*>p)[0] = <int16_t>v
    elif code == kI32:
        (<int32_t*>p)[0] = <int32_t>v
    else:
        (<int64_t*>p)[0] = v


cdef inline void put_uint(void* p, int code, uint64_t v) noexcept:
    if code == kU8:
        (<uint8_t*>p)[0] = <uint8_t>v
    elif code == kU16:
        (<uint16_t*>p)[0] = <uint16_t>v
    elif code == kU32:
        (<uint32_t*>p)[0] = <uint32_t>v
    else:
        (<uint64_t*>p)[0] = v


cdef object get_scalar(const void* p, int code):
    if code == kF32:
        return <double>(<float*>p)[0]
    if code == kF64:
        return (<double*>p)[0]
    if code == kBool:
        return (<uint8_t*>p)[0] != 0
    if code == kI64:
        return (<int64_t*>p)[0]
    if code == kI32:
        return (<int32_t*>p)[0]
    if code == kI16:
        return (<int16_t*>p)[0]
    if code == kI8:
        return (<int8_t*>p)[0]
    if code == kU8:
        return (<uint8_t*>p)[0]
    if code == kU16:
        return (<uint16_t*>p)[0]
    if code == kU32:
        return (<uint32_t*>p)[0]
    if code == kU64:
        return (<uint64_t*>p)[0]
    if code == kC64:
        return PyComplex_FromDoubles((<float*>p)[0], (<float*>p)[1])
    return PyComplex_FromDoubles((<double*>p)[0], (<double*>p)[1])


cdef int scalar_code(object value) except -2:
    """Dtype of a Python number on its own; -1 for what is none."""
    if isinstance(value, bool):
        return kBool
    if isinstance(value, int):
        return kI64
    if isinstance(value, float):
        return kF64
    if isinstance(value, complex):
        return kC128
    return -1


cdef Array scalar_array(object value, int code):
    cdef Array out = new_array(code, 0, NULL)
    put_scalar(out.tensor.data, code, value)
    return out


cdef Array scalar_beside(object value, int code):
    """A Python number as an operand beside an array of dtype `code`; None if it is no number."""
    if code == kF32 and type(value) is float:
        return scalar_array(value, code)
    cdef int own = scalar_code(value)
    if own < 0:
        return None
    if own == kI64 and code == kBool or own == kF64 and code < kF32 or own == kC128 and code < kF32:
        return scalar_array(value, own)
    if own == kC128 and code < kC64:
        return scalar_array(value, code + 2)
    return scalar_array(value, code)


cdef int flatten(object value, list shape, int depth, list out) except -1:
    cdef bint nested = isinstance(value, (list, tuple))
    if depth == len(shape):
        if nested or isinstance(value, (Array, TensorType)) and value.ndim:
            raise ArrayValueError("nested sequences have uneven depth; give a rectangular one")
        out.append(value.item() if isinstance(value, (Array, TensorType)) else value)
        return 0
    if isinstance(value, (Array, TensorType)):
        value, nested = value.tolist(), True
    if not nested or len(value) != shape[depth]:
        raise ArrayValueError("nested sequences have uneven lengths; give a rectangular one")
    for item in value:
        flatten(item, shape, depth + 1, out)
    return 0


cdef Array array_of(object value, int code):
    """An Array, number, nested sequence, Tensor or buffer as an Array; code < 0: the value's own dtype."""
    cdef Array out
    cdef Py_ssize_t sizes[12]
    cdef Py_ssize_t i, item
    cdef int rank, own
    if type(value) is Array:
        return <Array>value if code < 0 else cast_to(<Array>value, code)
    own = scalar_code(value)
    if own == kI64 and code < 0 and value >> 63 > 0:
        own = kU64
    if own >= 0:
        return scalar_array(value, own if code < 0 else code)
    if not isinstance(value, (list, tuple)):
        out = Array.of(value)
        return out if code < 0 else cast_to(out, code)
    shape, probe = [], value
    while True:
        if isinstance(probe, (list, tuple)):
            shape.append(len(probe))
            if not probe:
                break
            probe = probe[0]
        elif isinstance(probe, (Array, TensorType)):
            shape += list(probe.shape)
            break
        else:
            break
    flat = []
    flatten(value, shape, 0, flat)
    if code < 0:
        code = kF64 if not flat else 0
        for v in flat:
            own = scalar_code(v)
            if own < 0:
                raise ArrayTypeError(f"cannot make an array from {type(v).__name__}; give numbers")
            code = max(code, own)
            if own == kI64 and v >> 63 > 0 and code == kI64:
                code = kU64 if v < 1 << 64 else kI64
    rank = sizes_of(shape, sizes)
    out = new_array(code, rank, sizes)
    item = kItem[code]
    for i in range(len(flat)):
        put_scalar(<char*>out.tensor.data + i * item, code, flat[i])
    return out


def asarray_core(value, code, copy):
    """`asarray` with a dtype number or -1; copy True, False or None."""
    cdef Array out
    if type(value) is Array or not isinstance(value, (int, float, complex, list, tuple)):
        out = array_of(value, -1)
        if code >= 0 and out.code != code:
            if copy is False:
                raise ArrayValueError(f"{out.dtype} to another dtype needs a copy, which copy=False forbids")
            return cast_to(out, code)
        return out.copy() if copy else out
    if copy is False:
        raise ArrayValueError("numbers and sequences are always copied; copy=False cannot be kept")
    return array_of(value, code)


def full_core(shape, value, int code):
    """All elements the same."""
    cdef Py_ssize_t sizes[12]
    cdef int rank = sizes_of(shape, sizes)
    cdef Array out = new_array(code, rank, sizes)
    cdef char one[16]
    cdef int64_t nbytes = out.tensor.count * out.tensor.itemsize, done
    cdef Py_ssize_t item = out.tensor.itemsize
    if type(value) is Array:
        memcpy(one, cast_to(value, code).tensor.data, item)
    else:
        put_scalar(one, code, value)
    cdef char* p = <char*>out.tensor.data
    cdef bint zero = True
    for i in range(item):
        zero = zero and one[i] == 0
    if zero or item == 1:
        memset(p, one[0], nbytes)
    elif nbytes:
        memcpy(p, one, item)
        done = item
        while done < nbytes:
            memcpy(p + done, p, min(done, nbytes - done, 16384))
            done += min(done, nbytes - done, 16384)
    return out
