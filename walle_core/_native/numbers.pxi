# Python numbers and nested lists of them, to and from a Tensor's memory. Part of tensor.pyx.

def _flatten(value, shape, depth, out):
    if depth == len(shape):
        if isinstance(value, (list, tuple)):
            raise InputError("nested lists have uneven depth; give a rectangular list")
        out.append(value)
        return
    if not isinstance(value, (list, tuple)) or len(value) != shape[depth]:
        raise InputError("nested lists have uneven lengths; give a rectangular list")
    for item in value:
        _flatten(item, shape, depth + 1, out)


def _nest(flat, shape):
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        flat = [flat[i * size:(i + 1) * size] for i in range(len(flat) // size)] if size else []
    if 0 in shape[1:]:
        return _empty_nest(shape)
    return flat


def _empty_nest(shape):
    return [_empty_nest(shape[1:]) for _ in range(shape[0])] if shape else None


def _bfloat16_bits(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    if value != value:
        return (bits >> 16) | 0x40
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF


cdef bytes packed(list flat, object kind):
    """The bytes of Python numbers."""
    if kind.name == "bfloat16":
        return b"".join(struct.pack("<H", _bfloat16_bits(float(v))) for v in flat)
    if kind.kind == "c":
        part = "f" if kind.itemsize == 8 else "d"
        return b"".join(struct.pack("<2" + part, complex(v).real, complex(v).imag) for v in flat)
    if kind.format is None:
        if kind.kind not in "iu":
            raise InputError(f"cannot make a {kind.name} Tensor from Python numbers")
        return struct.pack(f"<{len(flat)}{'b' if kind.kind == 'i' else 'B'}", *[int(v) for v in flat])
    convert = float if kind.kind == "f" else bool if kind.kind == "b" else int
    return struct.pack(f"<{len(flat)}{kind.format}", *[convert(v) for v in flat])


cdef int fill_from(Tensor self, list flat, object kind) except -1:
    """Writes Python numbers. Raises InputError for one that does not fit."""
    if not flat:
        return 0
    try:
        data = packed(flat, kind)
    except (struct.error, OverflowError, ValueError, TypeError) as error:
        raise InputError(f"a value does not fit dtype {kind.name}: {error}") from error
    cdef const char* p = data
    memcpy(self.data, p, len(data))
    return 0


cdef object nested(Tensor self):
    """Nested lists of Python numbers. Raises InputError for a type of which Python has none."""
    kind = as_dtype(self.kind)
    raw = self.tobytes()
    if kind.name == "bfloat16":
        flat = [struct.unpack("<f", struct.pack("<I", b << 16))[0] for b in
                struct.unpack(f"<{self.count}H", raw)]
    elif kind.kind == "c":
        parts = struct.unpack(f"<{2 * self.count}{'f' if kind.itemsize == 8 else 'd'}", raw)
        flat = [complex(parts[2 * i], parts[2 * i + 1]) for i in range(self.count)]
    elif kind.format is None:
        if kind.kind not in "iu":
            raise InputError(f"{kind.name} has no Python number type; use np.asarray")
        flat = list(struct.unpack(f"<{self.count}{'b' if kind.kind == 'i' else 'B'}", raw))
    else:
        flat = list(struct.unpack(f"<{self.count}{kind.format}", raw))
    return _nest(flat, self.shape)
