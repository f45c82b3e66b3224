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

cdef extern from "shared.hpp" namespace "walle" nogil:
    walle_storage* shared_find(const string& key)
    size_t shared_keep(const string& key, walle_storage* block)

cdef extern from *:
    """
    typedef struct { int32_t device_type; int32_t device_id; } walle_dl_device;
    typedef struct { void* data; walle_dl_device device; int32_t ndim; uint8_t code; uint8_t bits; uint16_t lanes;
                     int64_t* shape; int64_t* strides; uint64_t byte_offset; } walle_dl_tensor;
    typedef struct walle_dl_managed { walle_dl_tensor t; void* context; void (*deleter)(struct walle_dl_managed*);
                                      int64_t shape[12]; } walle_dl_managed;
    static void walle_dl_release(walle_dl_managed* m) {
        walle_storage_release((walle_storage*)m->context); free(m);
    }
    static void walle_dl_capsule_free(PyObject* capsule) {
        if (PyCapsule_IsValid(capsule, "dltensor")) {
            walle_dl_managed* m = (walle_dl_managed*)PyCapsule_GetPointer(capsule, "dltensor");
            if (m && m->deleter) m->deleter(m);
        }
    }
    static void walle_dl_consume(walle_dl_managed* m) { if (m->deleter) m->deleter(m); }
    """
    ctypedef struct walle_dl_device:
        int32_t device_type
        int32_t device_id
    ctypedef struct walle_dl_tensor:
        void* data
        walle_dl_device device
        int32_t ndim
        uint8_t code
        uint8_t bits
        uint16_t lanes
        int64_t* shape
        int64_t* strides
        uint64_t byte_offset
    ctypedef struct walle_dl_managed:
        walle_dl_tensor t
        void* context
        void (*deleter)(walle_dl_managed*)
        int64_t shape[12]
    void walle_dl_release(walle_dl_managed* m)
    void walle_dl_capsule_free(object capsule)
    void walle_dl_consume(walle_dl_managed* m)

MAX_RANK = 12
_DL_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_DL_NAMES = {(0, 8): "int8", (0, 16): "int16", (0, 32): "int32", (0, 64): "int64", (1, 8): "uint8", (1, 16): "uint16",
             (1, 32): "uint32", (1, 64): "uint64", (2, 16): "float16", (2, 32): "float32", (2, 64): "float64",
             (4, 16): "bfloat16", (5, 64): "complex64", (5, 128): "complex128", (6, 8): "bool"}
_BY_FORMAT = {d.format: d.name for d in DTYPES.values() if d.format}
_BY_FORMAT.update({"l": "int64", "L": "uint64", "F": "complex64", "D": "complex128"})


cdef extern from *:
    """
    #include "walle/stop.hpp"
    static const walle_stop** walle_stop_here(void) {
        static thread_local const walle_stop* now = nullptr;
        return &now;
    }
    """
    const void** walle_stop_here()


def stop_place():
    """Address of the function that walle/stop.hpp wants to be connected with."""
    return <uintptr_t>&walle_stop_here


cdef int64_t checked(int64_t result) except -2:
    """The result of a call through walle/guarded.hpp. Raises StoppedError, MemoryError."""
    if result == -3:
        raise StoppedError("a native loop was told to stop")
    if result == -2:
        raise MemoryError("not enough memory for the work space of a native loop")
    return result


def storage_stats():
    """(live, made): storages alive now, and ever made, in this process."""
    return walle_storage_count(0), walle_storage_count(1)


def meter_storages(address):
    """Has the C function `int (int64_t bytes)` at `address` asked before each storage of this process is made, 0 refuses
    it, and told the negative when one is freed. 0 for none."""
    walle_storage_set_meter(<walle_storage_meter_fn><uintptr_t>address)


def find_shared(bytes key, nbytes):
    """The block of `nbytes` (uint8) that an interpreter of this process has kept under `key`; None if there is none."""
    cdef walle_storage* found = shared_find(key)
    return None if found == NULL else Tensor.from_handle(<uintptr_t>found, (nbytes,), "uint8")


def keep_shared(bytes key, Tensor block):
    """Keeps a block of constants, which nobody will write, for the other interpreters of this process, if it runs tasks.

    It is let go when the next one comes, or None, and nobody else has it. Returns how many are kept.
    """
    cdef walle_storage* storage = NULL
    if block is not None and walle_storage_is_metered():
        storage = block.storage
    return shared_keep(key, storage)


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
        (<Tensor>out).fill_from(flat, kind)
        return out

    def fill_from(self, flat, kind):
        if not flat:
            return
        if kind.name == "bfloat16":
            data = b"".join(struct.pack("<H", _bfloat16_bits(float(v))) for v in flat)
        elif kind.kind == "c":
            part = "f" if kind.itemsize == 8 else "d"
            data = b"".join(struct.pack("<2" + part, complex(v).real, complex(v).imag) for v in flat)
        elif kind.format is None:
            if kind.kind not in "iu":
                raise InputError(f"cannot make a {kind.name} Tensor from Python numbers")
            data = struct.pack(f"<{len(flat)}{'b' if kind.kind == 'i' else 'B'}", *[int(v) for v in flat])
        else:
            convert = float if kind.kind == "f" else bool if kind.kind == "b" else int
            try:
                data = struct.pack(f"<{len(flat)}{kind.format}", *[convert(v) for v in flat])
            except (struct.error, OverflowError, ValueError, TypeError) as error:
                raise InputError(f"a value does not fit dtype {kind.name}: {error}") from error
        cdef const char* p = data
        memcpy(self.data, p, len(data))

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
        """Opens a handle from `export`, once: the reference that it carries becomes this Tensor's."""
        cdef Tensor self = Tensor.__new__(Tensor)
        cdef walle_storage* storage = <walle_storage*><uintptr_t>handle
        self.set_shape(shape, as_dtype(dtype))
        if storage == NULL or storage.magic != WALLE_STORAGE_MAGIC or storage.nbytes < <uint64_t>(
                self.count * self.itemsize):
            raise InputError("not a live tensor handle of that size")
        self.storage = storage
        self.data = walle_storage_data(storage)
        return self

    def export(self):
        """A handle (integer) that another interpreter of this process may open exactly once, without a copy."""
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
        cdef Tensor held = self
        if self.storage == NULL or copy:
            held = self.copy()
        kind = as_dtype(self.kind)
        if kind.name == "bfloat16":
            code = 4
        elif kind.format is None:
            raise BufferError(f"DLPack has no type for {self.kind}")
        else:
            code = _DL_CODES[kind.kind]
        cdef walle_dl_managed* m = <walle_dl_managed*>malloc(sizeof(walle_dl_managed))
        if m == NULL:
            raise MemoryError()
        cdef int i
        walle_storage_retain(held.storage)
        m.context = held.storage
        m.deleter = walle_dl_release
        for i in range(held.rank):
            m.shape[i] = held.sizes[i]
        m.t.data = held.data
        m.t.device.device_type = 1
        m.t.device.device_id = 0
        m.t.ndim = held.rank
        m.t.code, m.t.bits, m.t.lanes = code, kind.bits, 1
        m.t.shape = m.shape
        m.t.strides = NULL
        m.t.byte_offset = 0
        return PyCapsule_New(m, "dltensor", <void (*)(object) noexcept>walle_dl_capsule_free)

    @staticmethod
    def from_dlpack(producer):
        """Copies the array of a DLPack producer on the host. Raises InputError for devices and types not known."""
        capsule = producer.__dlpack__()
        if not PyCapsule_IsValid(capsule, "dltensor"):
            raise InputError("not a fresh DLPack capsule")
        cdef walle_dl_managed* m = <walle_dl_managed*>PyCapsule_GetPointer(capsule, "dltensor")
        cdef int i
        name = _DL_NAMES.get((m.t.code, m.t.bits))
        if m.t.device.device_type != 1 or name is None or m.t.lanes != 1:
            raise InputError(f"DLPack device {m.t.device.device_type} or type ({m.t.code}, {m.t.bits}) is not taken")
        expected = 1
        for i in range(m.t.ndim - 1, -1, -1):
            if m.t.strides != NULL and m.t.shape[i] > 1 and m.t.strides[i] != expected:
                raise InputError("the DLPack array is not C-contiguous; make a contiguous copy first")
            expected *= m.t.shape[i]
        out = Tensor([m.t.shape[i] for i in range(m.t.ndim)], name, zero=False)
        memcpy((<Tensor>out).data, <char*>m.t.data + m.t.byte_offset, (<Tensor>out).count * (<Tensor>out).itemsize)
        PyCapsule_SetName(capsule, "used_dltensor")
        walle_dl_consume(m)
        return out


def _bfloat16_bits(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    if value != value:
        return (bits >> 16) | 0x40
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF
