# cython: language_level=3
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
"""System calls that the standard library does not offer and that a sandbox needs (Linux only, without ctypes), and files that all
interpreters of a process find by name."""

from cpython.bytes cimport PyBytes_AS_STRING
from libcpp.string cimport string

cdef extern from "walle/vm/registry.hpp" namespace "walle_vm" nogil:
    int registry_publish "walle_vm::publish"(const string& name, int fd)
    void registry_withdraw "walle_vm::withdraw"(const string& name)
    int registry_find "walle_vm::published"(const string& name)

cdef extern from * nogil:
    """
    #include <errno.h>
    #if defined(__linux__)
    #include <unistd.h>
    #include <sys/syscall.h>
    static long walle_syscall(long n, long a, long b, long c, long d, long e) {
        long r = syscall(n, a, b, c, d, e); return r < 0 ? -errno : r;
    }
    #else
    static long walle_syscall(long n, long a, long b, long c, long d, long e) {
        (void)n; (void)a; (void)b; (void)c; (void)d; (void)e; return -ENOSYS;
    }
    #endif
    """
    long walle_syscall(long n, long a, long b, long c, long d, long e)


cdef long _word(object value) except? -7:
    return <long>PyBytes_AS_STRING(value) if isinstance(value, bytes) else <long>value


def call(long number, *arguments):
    """The result of system call `number` with up to five integers or bytes (passed by address); ``-errno`` on failure."""
    cdef long words[5]
    cdef int i
    if len(arguments) > 5:
        raise TypeError(f"a system call takes at most five arguments here, not {len(arguments)}")
    for i in range(5):
        words[i] = _word(arguments[i]) if i < len(arguments) else 0
    return walle_syscall(number, words[0], words[1], words[2], words[3], words[4])


def address(bytes data):
    """Address of the first byte of `data`, for structures that point to others; `data` must outlive its use."""
    return <unsigned long>PyBytes_AS_STRING(data)


def publish(bytes name, int fd):
    """Keeps a copy of descriptor `fd` under a name, for every interpreter of the process. 0, or ``-errno``."""
    return registry_publish(name, fd)


def withdraw(bytes name):
    """Gives up the copy."""
    registry_withdraw(name)


def published(bytes name):
    """A new descriptor of what has that name, for the caller to close; ``-errno`` if there is none."""
    return registry_find(name)
