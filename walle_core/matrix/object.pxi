# Outside the garbage collector, as Tensor is: an array refers to its Tensor only.
@cython.no_gc
@cython.final
cdef class Array:
    """An array of the array API standard: C-contiguous, over a Tensor. Made by `asarray` and the other creation functions.

    Attributes:
        tensor: the Tensor that holds the elements (shared, not copied).
    """

    def __init__(self):
        raise ArrayTypeError("arrays are made by asarray(), zeros() and the like, or by Array.of(tensor)")

    @staticmethod
    def of(value):
        """An Array over the memory of a Tensor or of any C-contiguous buffer, without a copy. Raises InputError."""
        cdef Array out = Array.__new__(Array)
        if type(value) is Array:
            return value
        tensor = value if isinstance(value, TensorType) else TensorType.wrap(value)
        name = tensor.dtype
        if name not in CODES:
            raise ArrayTypeError(f"arrays have no dtype {name}; convert the tensor first")
        out.tensor, out.code = tensor, CODES[name]
        return out

    @property
    def dtype(self):
        """The DType of the elements."""
        return (<tuple>TYPES)[self.code]

    @property
    def shape(self):
        """Sizes as a tuple of integers."""
        return self.tensor.shape

    @property
    def ndim(self):
        """Number of dimensions."""
        return self.tensor.rank

    @property
    def size(self):
        """Number of elements."""
        return self.tensor.count

    @property
    def nbytes(self):
        """Bytes of the elements."""
        return self.tensor.count * self.tensor.itemsize

    @property
    def itemsize(self):
        """Bytes of one element."""
        return self.tensor.itemsize

    @property
    def device(self):
        """``cpu``: where the memory is."""
        return "cpu"

    @property
    def T(self):
        """The transpose of a matrix. Raises ArrayValueError for other ranks."""
        if self.tensor.rank != 2:
            raise ArrayValueError(f"T needs 2 dimensions, not {self.tensor.rank}; use mT or permute_dims()")
        return permute_core(self, (1, 0))

    @property
    def mT(self):
        """The transposes of a stack of matrices. Raises ArrayValueError below 2 dimensions."""
        cdef int rank = self.tensor.rank
        if rank < 2:
            raise ArrayValueError(f"mT needs at least 2 dimensions, not {rank}")
        return permute_core(self, (*range(rank - 2), rank - 1, rank - 2))

    def to_device(self, device, /, *, stream=None):
        """The array itself: ``cpu`` is the only device. Raises ArrayValueError for any other."""
        if device != "cpu" or stream is not None:
            raise ArrayValueError(f"arrays are on device 'cpu' and know no streams, not {device!r}")
        return self

    def __array_namespace__(self, *, api_version=None):
        if api_version is not None and api_version not in _VERSIONS:
            raise ArrayValueError(f"array API {api_version} is not offered; 2024.12 is")
        from walle_core import matrix
        return matrix

    def copy(self):
        """A copy with memory of its own."""
        cdef Array out = new_array(self.code, self.tensor.rank, self.tensor.sizes)
        memcpy(out.tensor.data, self.tensor.data, self.tensor.count * self.tensor.itemsize)
        return out

    def tolist(self):
        """Nested lists of Python numbers (a number for rank 0)."""
        return self.tensor.tolist()

    def item(self):
        """The only element as a Python number. Raises ArrayValueError if there is not exactly one."""
        if self.tensor.count != 1:
            raise ArrayValueError(f"item() needs one element, not {self.tensor.count}")
        return get_scalar(self.tensor.data, self.code)

    cdef object single(self, str what):
        if self.tensor.rank != 0:
            raise ArrayTypeError(f"{what}() needs an array without dimensions, not shape {self.tensor.shape}")
        return get_scalar(self.tensor.data, self.code)

    def __bool__(self):
        return bool(self.single("bool"))

    def __int__(self):
        return int(self.single("int"))

    def __float__(self):
        return float(self.single("float"))

    def __complex__(self):
        return complex(self.single("complex"))

    def __index__(self):
        if not kBool < self.code < kF32:
            raise ArrayTypeError(f"an index must be an integer, not {self.dtype}")
        return self.single("index")

    def __len__(self):
        if self.tensor.rank == 0:
            raise ArrayTypeError("an array without dimensions has no len()")
        return self.tensor.sizes[0]

    def __iter__(self):
        if self.tensor.rank == 0:
            raise ArrayTypeError("an array without dimensions cannot be iterated over")
        return iter([self[i] for i in range(self.tensor.sizes[0])])

    def __hash__(self):
        raise ArrayTypeError("arrays are mutable and have no hash")

    def __repr__(self):
        from walle_core.matrix.text import shown
        return shown(self)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyObject_GetBuffer(self.tensor, view, flags)

    def __array__(self, dtype=None, copy=None):
        return self.tensor.__array__(dtype, copy)

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if dl_device is not None and tuple(dl_device) != (1, 0):
            raise BufferError("arrays are on the host; dl_device must be (1, 0)")
        return self.tensor.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __add__(self, other): return operator(kAdd, self, other)
    def __radd__(self, other): return operator(kAdd, other, self)
    def __sub__(self, other): return operator(kSub, self, other)
    def __rsub__(self, other): return operator(kSub, other, self)
    def __mul__(self, other): return operator(kMul, self, other)
    def __rmul__(self, other): return operator(kMul, other, self)
    def __truediv__(self, other): return operator(kDiv, self, other)
    def __rtruediv__(self, other): return operator(kDiv, other, self)
    def __floordiv__(self, other): return operator(kFloorDiv, self, other)
    def __rfloordiv__(self, other): return operator(kFloorDiv, other, self)
    def __mod__(self, other): return operator(kRem, self, other)
    def __rmod__(self, other): return operator(kRem, other, self)
    def __pow__(self, other): return operator(kPow, self, other)
    def __rpow__(self, other): return operator(kPow, other, self)
    def __and__(self, other): return operator(kAnd, self, other)
    def __rand__(self, other): return operator(kAnd, other, self)
    def __or__(self, other): return operator(kOr, self, other)
    def __ror__(self, other): return operator(kOr, other, self)
    def __xor__(self, other): return operator(kXor, self, other)
    def __rxor__(self, other): return operator(kXor, other, self)
    def __lshift__(self, other): return operator(kShl, self, other)
    def __rlshift__(self, other): return operator(kShl, other, self)
    def __rshift__(self, other): return operator(kShr, self, other)
    def __rrshift__(self, other): return operator(kShr, other, self)
    def __eq__(self, other): return operator(kEq, self, other)
    def __ne__(self, other): return operator(kNe, self, other)
    def __lt__(self, other): return operator(kLt, self, other)
    def __le__(self, other): return operator(kLe, self, other)
    def __gt__(self, other): return operator(kGt, self, other)
    def __ge__(self, other): return operator(kGe, self, other)
    def __iadd__(self, other): return operator_into(kAdd, self, other)
    def __isub__(self, other): return operator_into(kSub, self, other)
    def __imul__(self, other): return operator_into(kMul, self, other)
    def __itruediv__(self, other): return operator_into(kDiv, self, other)
    def __ifloordiv__(self, other): return operator_into(kFloorDiv, self, other)
    def __imod__(self, other): return operator_into(kRem, self, other)
    def __ipow__(self, other): return operator_into(kPow, self, other)
    def __iand__(self, other): return operator_into(kAnd, self, other)
    def __ior__(self, other): return operator_into(kOr, self, other)
    def __ixor__(self, other): return operator_into(kXor, self, other)
    def __ilshift__(self, other): return operator_into(kShl, self, other)
    def __irshift__(self, other): return operator_into(kShr, self, other)
    def __neg__(self): return unary_array(kNeg, self)
    def __pos__(self): return unary_array(kPos, self)
    def __abs__(self): return unary_array(kAbs, self)
    def __invert__(self): return unary_array(kInvert, self)

    def __matmul__(self, other):
        if type(other) is not Array:
            return NotImplemented
        from walle_core import matrix
        return matrix.matmul(self, other)

    def __rmatmul__(self, other):
        return NotImplemented

    def __imatmul__(self, other):
        cdef Array made = self @ other
        if made.code != self.code or made.tensor.shape != self.tensor.shape:
            raise ArrayValueError(f"the product is {made.dtype}{made.shape}, which {self.dtype}{self.shape} cannot take")
        memcpy(self.tensor.data, made.tensor.data, self.tensor.count * self.tensor.itemsize)
        return self

    def __getitem__(self, key):
        return get_item(self, key)

    def __setitem__(self, key, value):
        set_item(self, key, value)
