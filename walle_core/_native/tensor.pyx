# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
"""Tensor: a dense row-major array with its own storage; speaks the buffer protocol, DLPack and `__array__`."""

import struct

cimport cython
from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE,
                             PyBuffer_Release, PyObject_GetBuffer)
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from libcpp.string cimport string

from walle_core.errors import InputError, StoppedError
from walle_core.dtypes import DTYPES, dtype as as_dtype

MAX_RANK = 12
_BY_FORMAT = {d.format: d.name for d in DTYPES.values() if d.format}
_BY_FORMAT.update({"l": "int64", "L": "uint64", "F": "complex64", "D": "complex128"})

include "process.pxi"


# Outside the garbage collector: its tp_clear would drop an exporter whose buffer is still held. No cycle goes
# through a Tensor, as exporters do not refer to their consumers.
@cython.no_gc
cdef class Tensor:
    """A dense row-major array. `Tensor(shape, dtype)` allocates it, 64-byte aligned and zeroed.

    Args:
        shape: sizes, up to 12 dimensions.
        dtype: a name from `walle_core.types.DTYPES` (not ``string``).
        zero: False leaves the memory as it comes.

    Raises:
        InputError: a negative or overflowing size, an unknown dtype.
        MemoryError: the memory is not there.
    """

    def __init__(self, shape, dtype="float32", zero=True):
        self.set_shape(shape, as_dtype(dtype))
        self.storage = walle_storage_new(self.count * self.itemsize)
        if self.storage == NULL:
            raise MemoryError(f"cannot allocate a tensor of {self.count * self.itemsize} bytes")
        self.data = walle_storage_data(self.storage)
        if zero:
            memset(self.data, 0, self.count * self.itemsize)

    def __dealloc__(self):
        if self.storage != NULL:
            walle_storage_release(self.storage)
        if self.has_source:
            PyBuffer_Release(&self.source)

    cdef int set_shape(self, object shape, object dtype) except -1:
        cdef Py_ssize_t count = 1, size
        cdef int i
        if dtype.itemsize == 0:
            raise InputError(f"a Tensor cannot hold dtype {dtype.name}; use a NumPy object array")
        if len(shape) > 12:
            raise InputError(f"a Tensor has at most 12 dimensions, not {len(shape)}")
        self.kind, self.itemsize, self.rank = dtype.name, dtype.itemsize, len(shape)
        self._format = dtype.format.encode() if dtype.format else None
        total = self.itemsize
        for i in range(self.rank):
            dim = int(shape[i])
            if dim < 0:
                raise InputError(f"shape {tuple(shape)} has a negative size")
            total *= dim
            if total >= 1 << 62 or dim >= 1 << 62:
                raise InputError(f"shape {tuple(shape)} of {dtype.name} is larger than the address space")
            self.sizes[i] = dim
        for i in range(self.rank - 1, -1, -1):
            self.strides[i] = count * self.itemsize
            count *= self.sizes[i]
        self.count = count
        return 0

    cdef int allocate(self, int rank, const Py_ssize_t* sizes, object kind, object format, Py_ssize_t itemsize) except -1:
        """Own memory for a Tensor that `Tensor.__new__` made; the caller has checked what `set_shape` would check."""
        cdef Py_ssize_t count = 1
        cdef int i
        self.kind, self._format, self.itemsize, self.rank = kind, format, itemsize, rank
        for i in range(rank - 1, -1, -1):
            self.sizes[i] = sizes[i]
            self.strides[i] = count * itemsize
            count *= sizes[i]
        self.count = count
        self.storage = walle_storage_new(count * itemsize)
        if self.storage == NULL:
            raise MemoryError(f"cannot allocate a tensor of {count * itemsize} bytes")
        self.data = walle_storage_data(self.storage)
        return 0

    @staticmethod
    def of(value, dtype=None):
        """Copies a number, nested list, Tensor or any buffer into a new Tensor (dtype default: float32 for numbers)."""
        if not isinstance(value, (int, float, bool, complex, list, tuple)):
            if not isinstance(value, Tensor):
                value = Tensor.wrap(value)
            return value.copy() if dtype is None or value.dtype == as_dtype(dtype).name else Tensor.of(
                value.tolist(), dtype)
        shape, probe = [], value
        while isinstance(probe, (list, tuple)):
            shape.append(len(probe))
            if not probe:
                break
            probe = probe[0]
        flat = []
        _flatten(value, shape, 0, flat)
        kind = as_dtype(dtype or "float32")
        out = Tensor(shape, kind)
        fill_from(out, flat, kind)
        return out

    @staticmethod
    def wrap(buffer, dtype=None, shape=None):
        """A Tensor over the memory of a C-contiguous buffer, without a copy; it keeps the buffer alive.

        Args:
            buffer: anything with the buffer protocol; with `dtype` and `shape` it may be plain bytes.
            dtype: default: the buffer's own format.
            shape: default: the buffer's own shape.

        Raises:
            InputError: the buffer is not contiguous, too small, or of a format that no dtype has.
        """
        cdef Tensor self = Tensor.__new__(Tensor)
        if isinstance(buffer, Tensor) and dtype is None and shape is None:
            return buffer
        if dtype is None or shape is None:
            try:
                view = memoryview(buffer)
            except (TypeError, ValueError, BufferError) as error:
                raise InputError(f"{type(buffer).__name__} offers no usable buffer ({error}); give an array") from error
            form = view.format.lstrip("@=<") if view.format else "B"
            if dtype is None:
                if form not in _BY_FORMAT:
                    raise InputError(f"no dtype for buffer format {view.format!r}")
                dtype = _BY_FORMAT[form]
            if shape is None:
                shape = view.shape
            if not view.c_contiguous:
                raise InputError("the buffer is not C-contiguous; make a contiguous copy first")
            if view.format and view.format[0] in ">!":
                raise InputError("big-endian buffers are not taken; convert to native byte order")
        try:
            PyObject_GetBuffer(buffer, &self.source, PyBUF_SIMPLE | PyBUF_WRITABLE)
        except (BufferError, ValueError, TypeError):
            try:
                PyObject_GetBuffer(buffer, &self.source, PyBUF_SIMPLE)
            except (BufferError, ValueError, TypeError) as error:
                raise InputError(f"{type(buffer).__name__} offers no usable buffer ({error}); give an array") from error
            self.readonly = True
        self.has_source = True
        self.set_shape(shape, as_dtype(dtype))
        if self.source.len < self.count * self.itemsize:
            raise InputError(f"buffer of {self.source.len} bytes is too small for {self.kind}{tuple(shape)}")
        self.data = self.source.buf
        return self

    @staticmethod
    def from_handle(handle, shape, dtype="float32"):
        """Opens a handle from `export`, once: the reference that it carries becomes this Tensor's.

        Raises:
            InputError: the number is no handle or was opened before; its storage is smaller than that shape and dtype.
        """
        cdef walle_storage* storage = NULL
        if isinstance(handle, int) and 0 < handle < 1 << 64:
            storage = handle_take(handle)
        if storage == NULL:
            raise InputError("not a live tensor handle; export() gives one, which can be opened once")
        try:
            return Tensor._adopt(handle, shape, dtype)
        except BaseException:
            handle_give(handle)
            raise

    @staticmethod
    def _adopt(handle, shape, dtype):
        """The same of a reference that nobody but native code has: a number that is none is not noticed."""
        cdef Tensor self = Tensor.__new__(Tensor)
        cdef walle_storage* storage = <walle_storage*><uintptr_t>handle
        self.set_shape(shape, as_dtype(dtype))
        if storage.magic != WALLE_STORAGE_MAGIC or storage.nbytes < <uint64_t>(self.count * self.itemsize):
            raise InputError("not a live tensor handle of that size")
        self.storage = storage
        self.data = walle_storage_data(storage)
        return self

    def export(self):
        """A handle (integer) that another interpreter of this process may open exactly once, without a copy."""
        handle = self._reference()
        handle_give(handle)
        return handle

    def _reference(self):
        """One more reference to the storage, as a number for native code."""
        if self.storage == NULL:
            raise InputError("this Tensor borrows its memory; export a copy()")
        walle_storage_retain(self.storage)
        return <uintptr_t>self.storage

    @property
    def shape(self):
        """Sizes as a tuple of integers."""
        return tuple([self.sizes[i] for i in range(self.rank)])

    @property
    def dtype(self):
        """Name of the element type."""
        return self.kind

    @property
    def ndim(self):
        """Number of dimensions."""
        return self.rank

    @property
    def size(self):
        """Number of elements."""
        return self.count

    @property
    def nbytes(self):
        """Bytes of the elements."""
        return self.count * self.itemsize

    @property
    def address(self):
        """Address of the first element."""
        return <uintptr_t>self.data

    def __len__(self):
        if self.rank == 0:
            raise TypeError("a Tensor without dimensions has no len()")
        return self.sizes[0]

    def copy(self):
        """A new Tensor with its own storage."""
        out = Tensor(self.shape, self.kind, zero=False)
        memcpy((<Tensor>out).data, self.data, self.count * self.itemsize)
        return out

    def reshape(self, *shape):
        """The same memory with another shape; one size may be -1. Raises InputError if the counts differ."""
        cdef Tensor out = Tensor.__new__(Tensor)
        sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else list(shape)
        if -1 in sizes:
            known = 1
            for s in sizes:
                known *= s if s != -1 else 1
            sizes[sizes.index(-1)] = self.count // known if known else 0
        out.set_shape(sizes, as_dtype(self.kind))
        if out.count != self.count:
            raise InputError(f"cannot reshape {self.shape} to {tuple(sizes)}: {self.count} elements, not {out.count}")
        if self.storage != NULL:
            walle_storage_retain(self.storage)
            out.storage = self.storage
        else:
            PyObject_GetBuffer(self, &out.source, PyBUF_SIMPLE)
            out.has_source = True
            out.readonly = self.readonly
        out.data = self.data
        return out

    def tobytes(self):
        """The elements as bytes, row-major."""
        return (<char*>self.data)[:self.count * self.itemsize]

    def tolist(self):
        """Nested lists of Python numbers (a number for rank 0)."""
        return nested(self)

    def item(self):
        """The only element as a Python number. Raises InputError if there is not exactly one."""
        if self.count != 1:
            raise InputError(f"item() needs one element, not {self.count}")
        return self.reshape(()).tolist()

    def __repr__(self):
        return f"Tensor({self.kind}{list(self.shape)})"

    def __getbuffer__(self, Py_buffer* view, int flags):
        if self.readonly and flags & PyBUF_WRITABLE:
            raise BufferError("this Tensor is read-only")
        if flags & PyBUF_FORMAT and self._format is None:
            raise BufferError(f"the buffer protocol has no format for {self.kind}")
        view.buf = self.data
        view.obj = self
        view.len = self.count * self.itemsize
        view.itemsize = self.itemsize
        view.readonly = self.readonly
        view.ndim = self.rank
        view.format = NULL
        view.shape = NULL
        view.strides = NULL
        if flags & PyBUF_FORMAT:
            view.format = <char*>self._format
        if flags & PyBUF_ND:
            view.shape = &self.sizes[0]
        if (flags & PyBUF_STRIDES) == PyBUF_STRIDES:
            view.strides = &self.strides[0]
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer* view):
        pass

    def __array__(self, dtype=None, copy=None):
        import numpy
        if self._format is not None:
            made = numpy.frombuffer(self, dtype=numpy.dtype(self.kind)).reshape(self.shape) if self.count else \
                numpy.zeros(self.shape, self.kind)
        else:
            import ml_dtypes
            made = numpy.frombuffer(self.tobytes(), dtype=getattr(ml_dtypes, self.kind)).reshape(self.shape)
        if dtype is not None and made.dtype != dtype:
            return made.astype(dtype)
        return made.copy() if copy else made

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A DLPack capsule over the same memory (over a copy if the memory is borrowed)."""
        return dlpack_of(self.copy() if self.storage == NULL or copy else self)

    @staticmethod
    def from_dlpack(producer):
        """Copies the array of a DLPack producer on the host. Raises InputError for devices and types not known."""
        return of_dlpack(producer.__dlpack__())


include "numbers.pxi"
include "dlpack.pxi"
