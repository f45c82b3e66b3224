# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Calls the pixel functions of walle/cv/*.hpp by name; buffers in, a Tensor out, the lock released."""

from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_IsContiguous, PyBuffer_Release, PyBuffer_ToContiguous, PyObject_GetBuffer
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport strcmp

from walle_core._native.tensor cimport Tensor, walle_storage_references

from walle_core._native.tensor import stop_place
from walle_core.errors import InputError, StoppedError, UnsupportedError

cdef extern from "walle/stop.hpp" nogil:
    ctypedef struct walle_stop:
        pass
    bint walle_stopped(const walle_stop* stop)
    const walle_stop* walle_stop_of_thread()
    void walle_stop_connect(uint64_t function)

cdef extern from "walle/cv/image.hpp" nogil:
    ctypedef struct walle_cv_image:
        char* data
        int64_t h, w, c, stride
        int depth
        const walle_stop* stop
    ctypedef int (*walle_cv_function)(const walle_cv_image*, int, const walle_cv_image*, const double*)
    ctypedef struct walle_cv_row:
        const char* name
        walle_cv_function call

cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(object, Py_ssize_t)
    Py_ssize_t Py_REFCNT(PyObject*)

cdef extern from *:
    """
    extern "C" const walle_cv_row* walle_cv_base();
    extern "C" const walle_cv_row* walle_cv_v3();
    extern "C" const walle_cv_row* walle_cv_v4();
    static int walle_cv_levels() {
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
        __builtin_cpu_init();
        return __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : 1;
    #else
        return 1;
    #endif
    }
    static const walle_cv_row* walle_cv_rows(int level) {
        int most = walle_cv_levels();
        if (level == 0) level = most;
        if (level > most) return NULL;
        return level == 4 ? walle_cv_v4() : level == 3 ? walle_cv_v3() : level == 1 ? walle_cv_base() : NULL;
    }
    """
    int walle_cv_levels() nogil
    const walle_cv_row* walle_cv_rows(int level) nogil

_DEPTHS = {"B": 0, "?": 0, "b": 1, "H": 2, "h": 3, "i": 4, "f": 5, "d": 6}
_NAMES = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")
cdef enum:
    MOST_INPUTS = 512
    MOST_ARGS = 64

walle_stop_connect(stop_place())


def level():
    """Level of the processor whose functions are used: 1 for any, 3 or 4 of x86-64."""
    return walle_cv_levels()


cdef int look(object value, Py_buffer* view, walle_cv_image* image, void** copy) except -1:
    """Takes the buffer of an image; `copy` gets memory to be freed where its pixels are not in rows."""
    cdef int64_t item, inner
    try:
        PyObject_GetBuffer(value, view, PyBUF_FULL_RO)
    except (BufferError, TypeError, ValueError) as error:
        raise InputError(f"{type(value).__name__} is no image ({error}); give a Tensor or an array") from error
    form = (<bytes>view.format).decode() if view.format != NULL else "B"
    form = form.lstrip("@=<")
    if form == "l" and view.itemsize == 4:
        form = "i"
    if form not in _DEPTHS:
        PyBuffer_Release(view)
        raise InputError(f"images of buffer format {form!r} are not taken; use one of {', '.join(_NAMES)}")
    if view.ndim < 1 or view.ndim > 3:
        PyBuffer_Release(view)
        raise InputError(f"an image has shape H x W or H x W x C, not {view.ndim} dimensions")
    item = view.itemsize
    image.depth, image.stop = _DEPTHS[form], walle_stop_of_thread()
    image.h = view.shape[0]
    image.w = view.shape[1] if view.ndim > 1 else 1
    image.c = view.shape[2] if view.ndim > 2 else 1
    if image.c > 512:
        PyBuffer_Release(view)
        raise InputError(f"an image has at most 512 channels, not {image.c}")
    inner = image.w * image.c * item
    copy[0] = NULL
    image.data = <char*>view.buf
    if PyBuffer_IsContiguous(view, b"C") or view.strides == NULL:
        image.stride = inner
    elif view.ndim > 1 and view.suboffsets == NULL and view.strides[view.ndim - 1] == item and view.strides[0] >= inner and (
            view.ndim == 2 or view.strides[1] == image.c * item):
        image.stride = view.strides[0]
    else:
        copy[0] = malloc(view.len + 64)
        if copy[0] == NULL:
            PyBuffer_Release(view)
            raise MemoryError()
        if PyBuffer_ToContiguous(copy[0], view, view.len, b"C") < 0:
            free(copy[0])
            PyBuffer_Release(view)
            raise InputError("the image's memory cannot be read")
        image.data, image.stride = <char*>copy[0], inner
    return 0


def describe(value):
    """(shape, dtype) of an image in any buffer. Raises InputError if it is none."""
    cdef Py_buffer view
    cdef walle_cv_image image
    cdef void* copy
    if isinstance(value, Tensor) and (<Tensor>value).rank in (2, 3) and (<Tensor>value).kind in _NAMES:
        return value.shape, value.dtype
    look(value, &view, &image, &copy)
    shape = tuple([view.shape[i] for i in range(view.ndim)])
    free(copy)
    PyBuffer_Release(&view)
    return shape, _NAMES[image.depth]


def spare(list kept):
    """A Tensor of a list that nothing else holds, not even a view or an export; None if there is none.

    Its callers hold a lock: between the question and the answer nobody may take another one.
    """
    cdef PyObject* found
    cdef Py_ssize_t i
    for i in range(PyList_GET_SIZE(kept)):
        found = PyList_GET_ITEM(kept, i)
        if Py_REFCNT(found) == 1 and walle_storage_references((<Tensor>found).storage) == 1:
            return <object>found
    return None


def run(str name, inputs, Tensor out, args=(), int level=0):
    """Runs a function on images, into `out`.

    Args:
        name: of a row in walle/cv/*.hpp.
        inputs: buffers of rank 1 to 3.
        out: of the size and dtype that the function's comment gives; a fourth dimension of 1 may come first.
        args: its numbers.
        level: of the processor; 0 for the best.

    Raises:
        InputError: an input is no image, or the function has no such dtype.
        UnsupportedError: this processor does not have that level, or there is no such function.
        StoppedError: it belongs to a task that was told to stop.
    """
    cdef walle_cv_image images[MOST_INPUTS]
    cdef Py_buffer views[MOST_INPUTS]
    cdef void* copies[MOST_INPUTS]
    cdef walle_cv_image target
    cdef double numbers[MOST_ARGS]
    cdef int count = len(inputs), used = 0, i, status = 0, batch
    cdef const walle_cv_row* row = walle_cv_rows(level)
    cdef bytes wanted = name.encode()
    cdef const char* text = wanted
    if row == NULL:
        raise UnsupportedError(f"this processor has no level {level}; use 0 for the best that it has")
    while row.name != NULL and strcmp(row.name, text) != 0:
        row += 1
    if row.name == NULL:
        raise UnsupportedError(f"there is no pixel function {name!r}")
    if count > MOST_INPUTS or len(args) > MOST_ARGS:
        raise InputError(f"at most {MOST_INPUTS} images are taken at once, not {count}")
    for i in range(len(args)):
        numbers[i] = args[i]
    batch = out.rank == 4 and out.sizes[0] == 1
    if out.readonly or out.rank < 1 or out.rank - batch > 3 or out.kind not in _NAMES:
        raise InputError("the result needs a writable Tensor of rank 1 to 3")
    target.data, target.stop = <char*>out.data, walle_stop_of_thread()
    target.h = out.sizes[batch]
    target.w, target.c = out.sizes[batch + 1] if out.rank > 1 else 1, out.sizes[batch + 2] if out.rank > 2 else 1
    target.stride, target.depth = target.w * target.c * out.itemsize, _NAMES.index(out.kind)
    try:
        while used < count:
            look(inputs[used], &views[used], &images[used], &copies[used])
            used += 1
        if out.count:
            with nogil:
                status = row.call(images, count, &target, numbers)
    finally:
        for i in range(used):
            free(copies[i])
            PyBuffer_Release(&views[i])
    if status == 2:
        raise MemoryError(f"{name}: there is not enough memory")
    if status:
        raise InputError(f"{name} does not take images of {describe(inputs[0])[1]} into {out.kind}")
    if walle_stopped(target.stop):
        raise StoppedError(f"{name} was told to stop")
    return out
