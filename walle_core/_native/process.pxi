# What all interpreters of a process have in common: storages, constants, and where a thread's run notes that it is to stop.
# Part of tensor.pyx.

cdef extern from "shared.hpp" namespace "walle" nogil:
    walle_storage* shared_find(const string& key)
    size_t shared_keep(const string& key, walle_storage* block)
    void handle_give(uint64_t handle)
    walle_storage* handle_take(uint64_t handle)

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
    return None if found == NULL else Tensor._adopt(<uintptr_t>found, (nbytes,), "uint8")


def keep_shared(bytes key, Tensor block):
    """Keeps a block of constants, which nobody will write, for the other interpreters of this process, if it runs tasks.

    It is let go when the next one comes, or None, and nobody else has it. Returns how many are kept.
    """
    cdef walle_storage* storage = NULL
    if block is not None and walle_storage_is_metered():
        storage = block.storage
    return shared_keep(key, storage)
