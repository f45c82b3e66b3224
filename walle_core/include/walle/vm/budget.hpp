// How much memory the interpreter that this thread has entered may still take: raw memory and arenas of objects.
#ifndef WALLE_VM_BUDGET_HPP
#define WALLE_VM_BUDGET_HPP
#include <Python.h>
#ifdef __APPLE__
#include <malloc/malloc.h>
#define walle_vm_size(p) malloc_size(p)
#else
#include <malloc.h>
#define walle_vm_size(p) malloc_usable_size(p)
#endif

namespace walle_vm {

struct Account {
  long used = 0;     // bytes of Python objects held now
  long tensors = 0;  // bytes of tensors made in this run and not freed in it
  long limit = 0;    // bytes that may be held; 0: as many as there are
  long refused = 0;
};

// Null outside of task interpreters, so that nothing else in the process pays or is refused.
inline thread_local Account* account = nullptr;

inline bool admits(long wanted) {
  Account* a = account;
  if (!a || !a->limit || wanted <= 0 || a->used + a->tensors + wanted <= a->limit) return true;
  a->refused++;
  return false;
}
inline void charge(long bytes) {
  if (account) account->used += bytes;
}


// See walle_storage_meter. Tensors that leave for the host are freed there, so only a run's own are counted.
inline int meter(int64_t bytes) {
  if (!account) return 1;
  if (!admits((long)bytes)) return 0;
  account->tensors = account->tensors + bytes < 0 ? 0 : account->tensors + (long)bytes;
  return 1;
}

inline PyMemAllocatorEx raw_below;
inline PyObjectArenaAllocator arena_below;

inline void* raw_malloc(void*, size_t n) {
  if (!admits((long)n)) return nullptr;
  void* p = raw_below.malloc(raw_below.ctx, n);
  if (p && account) charge((long)walle_vm_size(p));
  return p;
}
inline void* raw_calloc(void*, size_t n, size_t size) {
  if (!admits((long)(n * size))) return nullptr;
  void* p = raw_below.calloc(raw_below.ctx, n, size);
  if (p && account) charge((long)walle_vm_size(p));
  return p;
}
inline void* raw_realloc(void*, void* old, size_t n) {
  if (!account) return raw_below.realloc(raw_below.ctx, old, n);
  const long before = old ? (long)walle_vm_size(old) : 0;
  if (!admits((long)n - before)) return nullptr;
  void* p = raw_below.realloc(raw_below.ctx, old, n);
  if (p) charge((long)walle_vm_size(p) - before);
  return p;
}
inline void raw_free(void*, void* p) {
  if (p && account) charge(-(long)walle_vm_size(p));
  raw_below.free(raw_below.ctx, p);
}
inline void* arena_alloc(void*, size_t n) {
  if (!admits((long)n)) return nullptr;
  void* p = arena_below.alloc(arena_below.ctx, n);
  if (p) charge((long)n);
  return p;
}
inline void arena_free(void*, void* p, size_t n) {
  charge(-(long)n);
  arena_below.free(arena_below.ctx, p, n);
}

// Once per process and with the main interpreter's GIL held. Builds without a GIL have an allocator of their own.
inline void install() {
#ifndef Py_GIL_DISABLED
  static bool installed = false;
  if (installed) return;
  installed = true;
  PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw_below);
  PyMemAllocatorEx raw = {nullptr, raw_malloc, raw_calloc, raw_realloc, raw_free};
  PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &raw);
  PyObject_GetArenaAllocator(&arena_below);
  PyObjectArenaAllocator arena = {nullptr, arena_alloc, arena_free};
  PyObject_SetArenaAllocator(&arena);
#endif
}

}  // namespace walle_vm
#endif
