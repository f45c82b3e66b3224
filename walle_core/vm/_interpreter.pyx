# cython: language_level=3, boundscheck=False, wraparound=False
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Interpreters with a GIL of their own (Python 3.12 and later), and exceptions raised in other threads (every Python)."""

from libc.stdint cimport int64_t, uintptr_t
from libcpp.string cimport string

from walle_core._native.tensor import meter_storages, stop_place
from walle_core.errors import UnsupportedError

cdef extern from "walle/vm/runner.hpp" namespace "walle_vm" nogil:
    bint kAvailable
    int raise_in(unsigned long thread, object error)
    cdef cppclass Account:
        long used
    cdef cppclass Parcel:
        char* data
        Py_ssize_t size
    cdef cppclass Vm:
        Account account
        unsigned long thread
    bint pack(object value, Parcel& parcel) except 0
    bint pack_trusted(object value, Parcel& parcel) except 0
    object unpack(const Parcel& parcel)
    void drop(Parcel& parcel)
    string create(Vm* vm, const Parcel& boot)
    int run(Vm* vm, Py_ssize_t index, const Parcel& given, long memory, long output, Parcel& out, Parcel& logs)
    void forget(Vm* vm, Py_ssize_t index)
    int meter(int64_t bytes)
    bint interrupt(Vm* vm)
    void destroy(Vm* vm)

cdef extern from "walle/stop.hpp" nogil:
    ctypedef struct walle_stop:
        int64_t run
        int64_t asked
    void walle_stop_connect(uintptr_t function)
    const walle_stop** walle_stop_place()

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()


walle_stop_connect(stop_place())


def available():
    """Whether this Python has interpreters with a GIL of their own."""
    return bool(kAvailable)


def interrupt_thread(unsigned long thread, error):
    """Raises a class of exceptions in a thread of this interpreter, at its next bytecode; None takes it back."""
    return raise_in(thread, error)


cdef class Stop:
    """Tells the native loops of one thread's runs to stop."""

    cdef walle_stop state

    def begin(self):
        """A run begins on the calling thread."""
        self.state.run += 1
        walle_stop_place()[0] = &self.state

    def end(self):
        """It has ended; on the same thread."""
        walle_stop_place()[0] = NULL

    def ask(self):
        """From any thread: the run in progress is to stop."""
        self.state.asked = self.state.run


cdef class Interpreter:
    """An interpreter with a GIL of its own. One thread makes, uses and closes it.

    Args:
        code: the compiled guest module (`walle_core.vm.guest`).
        settings: what its `boot` takes; plain values.

    Raises:
        UnsupportedError: this Python has none.
        RuntimeError: it could not be made, or another thread uses it.
    """

    cdef Vm vm
    cdef bint alive

    def __init__(self, code, settings):
        cdef Parcel boot
        cdef string problem
        if not kAvailable:
            raise UnsupportedError("Python 3.11 has no interpreters with a GIL of their own; use isolation='process', or Python 3.12")
        meter_storages(<uintptr_t>&meter)
        try:
            pack_trusted((code, settings), boot)
            problem = create(&self.vm, boot)
        finally:
            drop(boot)
        if problem.size():
            raise RuntimeError(f"a task interpreter could not be made: {problem.decode('utf-8', 'replace')}")
        self.alive = True

    cdef int check(self) except -1:
        if not self.alive:
            raise RuntimeError("this interpreter is closed")
        if PyThread_get_thread_ident() != self.vm.thread:
            raise RuntimeError("an interpreter belongs to the thread that made it")
        return 0

    def run(self, Py_ssize_t index, given, long memory=0, long output=1 << 20):
        """Calls the loaded task `index` with the dict `given`, or, below 0, the guest's `load` with a tuple.

        Args:
            memory: bytes that it may take; 0 for as many as there are.
            output: bytes that it may print.

        Returns:
            (failed, value, logs); value is (kind, type, text, traceback) if it failed; `failed` is 2 if the interpreter should not
            be used again, as an import was interrupted.
        """
        cdef Parcel inputs
        cdef Parcel out
        cdef Parcel printed
        cdef int failed
        self.check()
        try:
            if index < 0:
                pack_trusted(given, inputs)
            elif type(given) is not dict:  # what the runner in the other interpreter takes for granted
                raise TypeError(f"inputs are a dict of keyword arguments, not {type(given).__name__}")
            else:
                pack(given, inputs)
            failed = run(&self.vm, index, inputs, memory, output, out, printed)
            value = unpack(out) if out.data != NULL else ("error", "SystemError", "its end could not be described", "")
            return failed, value, unpack(printed) if printed.data != NULL else ""
        finally:
            drop(inputs)
            drop(out)
            drop(printed)

    def forget(self, Py_ssize_t index):
        """Unloads a task."""
        self.check()
        forget(&self.vm, index)

    def interrupt(self):
        """Stops native loops of the run in progress and raises the guest's `TaskStopped` in it; from any thread, never waits.
        Whether it will be raised."""
        return self.alive and interrupt(&self.vm)

    @property
    def memory(self):
        """Bytes that the interpreter holds; 0 on builds without a GIL."""
        return self.vm.account.used

    def close(self):
        """Ends the interpreter."""
        if self.alive:
            self.check()
            self.alive = False
            destroy(&self.vm)

