# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Kernel tables and Program: a graph compiled to a flat array of native steps, run by one call without the GIL."""

from array import array
from math import prod

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from libc.stdint cimport int64_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from libcpp.string cimport string
from libcpp.vector cimport vector

from walle_core._native.tensor cimport Tensor, walle_storage_references

from walle_core._native.tensor import Tensor as TensorType, stop_place
from walle_core.errors import InputError, PluginError, StoppedError
from walle_core.dtypes import DTYPES

cdef extern from "walle/abi.h" nogil:
    ctypedef struct walle_call:
        void* const* buf
        const int64_t* arg
        int64_t begin
        int64_t end
        int thread
        int threads
    ctypedef void (*walle_kernel_fn)(const walle_call*) noexcept nogil
    ctypedef struct walle_kernel:
        const char* family
        const char* op
        const char* dtype
        walle_kernel_fn fn
    ctypedef struct walle_kernel_table:
        uint32_t abi
        uint32_t entry_size
        const char* isa
        size_t count
        const walle_kernel* kernels
        uint32_t lanes
    uint32_t WALLE_KERNEL_ABI
    const char* WALLE_KERNEL_CAPSULE

cdef extern from "executor.hpp" namespace "walle" nogil:
    cdef cppclass Step:
        walle_kernel_fn fn
        void* const* buf
        const int64_t* arg
        int64_t work
        int64_t chunk
    void alone(const Step& step, const walle_stop* stop, int64_t* piece)
    void execute(const Step* steps, int64_t count, int threads, bint parallel, int64_t* times, const walle_stop* stop,
                 int64_t* pieces)

cdef extern from "walle/stop.hpp" nogil:
    ctypedef struct walle_stop:
        pass
    bint walle_stopped(const walle_stop* stop)
    const walle_stop* walle_stop_of_thread()
    void walle_stop_connect(uintptr_t function)

cdef extern from "tables.hpp" namespace "walle" nogil:
    struct Tables:
        size_t count
        uintptr_t* addresses
    const Tables* tables_find(const char* key, size_t size)
    Tables* tables_new(const char* key, size_t size, size_t count)
    void tables_keep(Tables* made)

cdef extern from *:
    """
    #include <mutex>
    extern "C" const walle_kernel_table walle_kernels_scalar;
    static const walle_kernel_table* walle_scalar_table() { return &walle_kernels_scalar; }
    static int walle_pool_workers() { return walle::Pool::instance().workers(); }
    static const int64_t walle_max_chunks = walle::Pool::kMaxChunks;
    static Py_ssize_t walle_refcount(PyObject* o) { return Py_REFCNT(o); }
    """
    const walle_kernel_table* walle_scalar_table() nogil
    int walle_pool_workers() nogil
    const int64_t MAX_CHUNKS "walle_max_chunks"
    Py_ssize_t walle_refcount(PyObject* o) nogil
    cdef cppclass mutex "std::mutex":
        void lock() nogil
        void unlock() nogil


walle_stop_connect(stop_place())


def pool_threads():
    """Worker threads that the shared pool has started."""
    return walle_pool_workers()


cdef class Kernel:
    """One row of a kernel table. Calling it runs it at once on the calling thread."""

    cdef readonly str family, op, dtype, isa
    cdef readonly int lanes
    cdef walle_kernel_fn fn
    cdef object owner

    @property
    def address(self):
        """Address of the native function."""
        return <uintptr_t>self.fn

    def __call__(self, tensors, args=(), work=1):
        """Runs on Tensors (None for an absent operand), outputs first, over units 0..work.

        Raises StoppedError if it belongs to a task that was told to stop.
        """
        cdef void* buf[32]
        cdef int64_t* arg = NULL
        cdef Step step
        cdef const walle_stop* stop = walle_stop_of_thread()
        cdef int64_t piece = 0
        cdef int i
        if len(tensors) > 32:
            raise InputError(f"kernel {self!r}: {len(tensors)} operands, at most 32 at once")
        for i in range(len(tensors)):
            buf[i] = (<Tensor?>tensors[i]).data if tensors[i] is not None else NULL
        arg = <int64_t*>calloc(len(args) + 1, sizeof(int64_t))
        if arg == NULL:
            raise MemoryError()
        try:
            for i in range(len(args)):
                arg[i] = args[i]
            step.fn, step.buf, step.arg, step.work, step.chunk = self.fn, buf, arg, work, work
            with nogil:
                alone(step, stop, &piece)
        finally:
            free(arg)
        if walle_stopped(stop):
            raise StoppedError("the kernel's run was told to stop")

    def __repr__(self):
        return f"<kernel {self.isa}/{self.family}/{self.op}/{self.dtype}>"


cdef list _rows(const walle_kernel_table* table, object owner):
    cdef size_t i
    cdef Kernel kernel
    rows = []
    for i in range(table.count):
        kernel = Kernel.__new__(Kernel)
        kernel.family = table.kernels[i].family.decode()
        kernel.op = table.kernels[i].op.decode()
        kernel.dtype = table.kernels[i].dtype.decode()
        kernel.isa = table.isa.decode()
        kernel.lanes = table.lanes
        kernel.fn = table.kernels[i].fn
        kernel.owner = owner
        rows.append(kernel)
    return rows


def load_table(capsule):
    """Kernels of a table capsule. Raises PluginError if it is no table or speaks another ABI."""
    if not PyCapsule_IsValid(capsule, WALLE_KERNEL_CAPSULE):
        raise PluginError("a kernel table must be a capsule named walle.kernel_table")
    cdef const walle_kernel_table* table = <const walle_kernel_table*>PyCapsule_GetPointer(capsule, WALLE_KERNEL_CAPSULE)
    if table.abi != WALLE_KERNEL_ABI:
        raise PluginError(f"kernel table ABI {table.abi}, walle_core speaks {WALLE_KERNEL_ABI}: upgrade "
                          f"{'walle-core' if table.abi > WALLE_KERNEL_ABI else 'the plugin'} with pip install -U")
    if table.entry_size != sizeof(walle_kernel):
        raise PluginError(f"kernel table rows of {table.entry_size} bytes, walle_core expects "
                          f"{sizeof(walle_kernel)}: rebuild the plugin against this walle-core")
    return _rows(table, capsule)


def scalar_table():
    """The portable table that is compiled into the core, as a capsule."""
    return PyCapsule_New(<void*>walle_scalar_table(), WALLE_KERNEL_CAPSULE, NULL)


def shared_tables(bytes key):
    """Capsules of the tables that an interpreter of this process kept under `key`, or None."""
    cdef const Tables* kept = tables_find(key, len(key))
    if kept == NULL:
        return None
    return [PyCapsule_New(<void*>kept.addresses[i], WALLE_KERNEL_CAPSULE, NULL) for i in range(kept.count)]


def share_tables(bytes key, capsules):
    """Keeps tables for all interpreters of this process."""
    cdef list found = list(capsules)
    cdef Py_ssize_t i
    addresses = [<uintptr_t>PyCapsule_GetPointer(capsule, WALLE_KERNEL_CAPSULE) for capsule in found]
    cdef Tables* made = tables_new(key, len(key), len(found))
    if made == NULL:
        raise MemoryError
    for i in range(len(found)):
        made.addresses[i] = addresses[i]
    tables_keep(made)


cdef class Program:
    """A flat native program over one arena.

    Args:
        arena: Tensor that holds all intermediate values and scratch.
        steps: sequence of (kernel, operands, args, work, chunk); an argument is an integer or a Kernel, which stands for
            its address; an operand is (space, a, b):
            ("arena", byte offset, 0), ("constant", Tensor, byte offset), ("input", index, byte offset),
            ("output", index, byte offset) or ("none", 0, 0).
        inputs: (dtype name, shape) per input.
        outputs: (dtype name, shape) per output.
        threads: threads per run; work up to `chunk` units stays on the caller.

    A run takes Tensors of exactly these specs, whose sizes are checked because kernels trust them, and returns fresh
    Tensors; an output that the caller has dropped is used again, so steady state allocates nothing.
    """

    cdef Step* steps
    cdef void** pointers
    cdef int64_t* args
    cdef int64_t* patches       # triples: pointer index, input (>= 0) or output (-1 - index), byte offset
    cdef int64_t* needed        # bytes per input
    cdef int64_t* pieces        # units per step between two looks at whether the run is to stop; see `alone`
    cdef int64_t n_steps, n_patches
    cdef int threads
    cdef bint parallel
    cdef mutex guard
    cdef list keep
    cdef readonly tuple inputs, outputs
    cdef list cache

    def __init__(self, arena, steps, inputs, outputs, threads=1):
        cdef int64_t n_pointers = 0, n_args = 0, p = 0, a = 0, q = 0, i, j, patches = 0
        cdef Kernel kernel
        cdef Tensor tensor
        for _, operands, args, _, _ in steps:
            n_pointers += len(operands)
            n_args += len(args)
            patches += sum(1 for o in operands if o[0] in ("input", "output"))
        self.n_steps = len(steps)
        self.threads = max(1, int(threads))
        self.steps = <Step*>calloc(self.n_steps + 1, sizeof(Step))
        self.pointers = <void**>calloc(n_pointers + 1, sizeof(void*))
        self.args = <int64_t*>calloc(n_args + 1, sizeof(int64_t))
        self.patches = <int64_t*>calloc(3 * patches + 1, sizeof(int64_t))
        self.needed = <int64_t*>calloc(len(inputs) + 1, sizeof(int64_t))
        self.pieces = <int64_t*>calloc(self.n_steps + 1, sizeof(int64_t))
        if self.steps == NULL or self.pointers == NULL or self.args == NULL or self.patches == NULL or \
                self.needed == NULL or self.pieces == NULL:
            raise MemoryError("cannot allocate the program")
        for i, (dtype, shape) in enumerate(inputs):
            self.needed[i] = prod(shape) * DTYPES[dtype].itemsize
        self.keep = [arena]
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.cache = [None] * len(self.outputs)
        for i in range(self.n_steps):
            kernel, operands, args, work, chunk = steps[i]
            self.keep.append(kernel)
            self.steps[i].fn = kernel.fn
            self.steps[i].buf = self.pointers + p
            self.steps[i].arg = self.args + a
            self.steps[i].work = work
            self.steps[i].chunk = max(1, chunk, -(-work // MAX_CHUNKS))
            if work > chunk:
                self.parallel = True
            for space, first, second in operands:
                if space == "arena":
                    tensor = arena
                    self.pointers[p] = <char*>tensor.data + <int64_t>first
                elif space == "constant":
                    tensor = first
                    self.keep.append(first)
                    self.pointers[p] = <char*>tensor.data + <int64_t>second
                elif space != "none":
                    self.patches[q] = p
                    self.patches[q + 1] = first if space == "input" else -1 - first
                    self.patches[q + 2] = second
                    self.n_patches += 1
                    q += 3
                p += 1
            for j in range(len(args)):
                self.args[a + j] = args[j].address if isinstance(args[j], Kernel) else args[j]
            a += len(args)

    def __dealloc__(self):
        free(self.steps)
        free(self.pointers)
        free(self.args)
        free(self.patches)
        free(self.needed)
        free(self.pieces)

    def run(self, inputs):
        """Runs once on a sequence of Tensors; returns the list of output Tensors.

        Raises StoppedError if the run belongs to a task that was told to stop.
        """
        return self._run(inputs, NULL)

    def profile(self, inputs):
        """(outputs, nanoseconds of each step)."""
        cdef int64_t* times = <int64_t*>calloc(self.n_steps + 1, sizeof(int64_t))
        if times == NULL:
            raise MemoryError()
        try:
            outputs = self._run(inputs, times)
            return outputs, [times[i] for i in range(self.n_steps)]
        finally:
            free(times)

    cdef list _run(self, object inputs, int64_t* times):
        cdef int64_t n_in = len(inputs), n_out = len(self.outputs)
        cdef void* few[64]  # enough for nearly every model: a run then asks the allocator for nothing
        cdef void** ins
        if n_in + n_out <= 64:
            return self._run_on(inputs, few, few + n_in, times)
        ins = <void**>malloc((n_in + n_out) * sizeof(void*))
        if ins == NULL:
            raise MemoryError()
        try:
            return self._run_on(inputs, ins, ins + n_in, times)
        finally:
            free(ins)

    cdef list _run_on(self, object inputs, void** ins, void** outs, int64_t* times):
        cdef int64_t i, slot
        cdef Tensor tensor
        cdef int64_t n_in = len(inputs), n_out = len(self.outputs)
        if n_in != len(self.inputs):
            raise InputError(f"the program takes {len(self.inputs)} inputs, not {n_in}")
        for i in range(n_in):
            tensor = <Tensor?>inputs[i]
            if tensor.count * tensor.itemsize != self.needed[i]:
                raise InputError(f"input {i} of the program is {tensor!r}, needs {self.inputs[i][0]}"
                                 f"{list(self.inputs[i][1])}")
            ins[i] = tensor.data
        cdef const walle_stop* stop = walle_stop_of_thread()
        cdef list made = []
        cached, self.cache = self.cache, [None] * n_out
        for i in range(n_out):
            found = cached[i]
            # held by `cached` and `found` only: the caller has dropped it, and no handle or view is out
            if found is None or walle_refcount(<PyObject*>found) > 2 or walle_storage_references(
                    (<Tensor>found).storage) > 1:
                dtype, shape = self.outputs[i]
                found = TensorType(shape, dtype, zero=False)
            tensor = <Tensor>found
            outs[i] = tensor.data
            made.append(found)
        with nogil:
            self.guard.lock()
            for i in range(self.n_patches):
                slot = self.patches[3 * i + 1]
                self.pointers[self.patches[3 * i]] = <char*>(ins[slot] if slot >= 0 else outs[-1 - slot]) + \
                    self.patches[3 * i + 2]
            execute(self.steps, self.n_steps, self.threads, self.parallel, times, stop, self.pieces)
            self.guard.unlock()
        if walle_stopped(stop):
            raise StoppedError("the run was told to stop")
        self.cache = list(made)
        return made
