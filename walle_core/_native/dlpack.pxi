# DLPack, in both directions. Part of tensor.pyx.

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

_DL_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_DL_NAMES = {(0, 8): "int8", (0, 16): "int16", (0, 32): "int32", (0, 64): "int64", (1, 8): "uint8", (1, 16): "uint16",
             (1, 32): "uint32", (1, 64): "uint64", (2, 16): "float16", (2, 32): "float32", (2, 64): "float64",
             (4, 16): "bfloat16", (5, 64): "complex64", (5, 128): "complex128", (6, 8): "bool"}


cdef object dlpack_of(Tensor held):
    """A capsule over the memory of a Tensor that owns it."""
    kind = as_dtype(held.kind)
    if kind.name == "bfloat16":
        code = 4
    elif kind.format is None:
        raise BufferError(f"DLPack has no type for {held.kind}")
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


cdef object of_dlpack(object capsule):
    """A copy of what a capsule holds. Raises InputError for devices and types not known."""
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
