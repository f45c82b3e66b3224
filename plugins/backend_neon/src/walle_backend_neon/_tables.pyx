# cython: language_level=3, subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Hands the compiled kernel tables over as capsules."""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "probe.hpp" nogil:
    ctypedef struct walle_kernel_table:
        pass
    ctypedef bint (*usable_fn)() noexcept nogil
    ctypedef struct walle_choice:
        const char* isa
        const char* extends
        const walle_kernel_table* table
        usable_fn usable
    const walle_choice* walle_choices
    const char* WALLE_KERNEL_CAPSULE


def compiled():
    """Names of the ISAs in this build, best first; empty where the build machine was no AArch64."""
    cdef const walle_choice* choice = walle_choices
    names = []
    while choice.table != NULL:
        names.append(choice.isa.decode())
        choice += 1
    return names


def extends():
    """{ISA: the ISA whose rows stand behind its own}, of those whose tables are not complete."""
    cdef const walle_choice* choice = walle_choices
    found = {}
    while choice.table != NULL:
        if choice.extends[0]:
            found[choice.isa.decode()] = choice.extends.decode()
        choice += 1
    return found


def usable():
    """{ISA: capsule} of the tables that this CPU can run, best first."""
    cdef const walle_choice* choice = walle_choices
    found = {}
    while choice.table != NULL:
        if choice.usable():
            found[choice.isa.decode()] = PyCapsule_New(<void*>choice.table, WALLE_KERNEL_CAPSULE, NULL)
        choice += 1
    return found
