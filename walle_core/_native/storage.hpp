// Reference-counted, 64-byte aligned memory that no interpreter owns: what a Tensor holds and what crosses interpreters.
#ifndef WALLE_STORAGE_HPP
#define WALLE_STORAGE_HPP
#include <stdint.h>
#include <stdlib.h>

typedef struct walle_storage {
  int64_t references;
  uint64_t nbytes;
  uint64_t magic;  // tells a live storage from an address that is none
} walle_storage;

#define WALLE_STORAGE_MAGIC 0x57A11E5707A6E0ULL
#define WALLE_STORAGE_HEADER 64

// Only the module that defines Tensor makes and frees storages, so its copy counts for the whole process.
static int64_t walle_storage_live = 0;
static int64_t walle_storage_made = 0;

static inline walle_storage* walle_storage_new(uint64_t nbytes) {
  void* memory = NULL;
  if (nbytes > (UINT64_MAX >> 1)) return NULL;
  if (posix_memalign(&memory, 64, WALLE_STORAGE_HEADER + ((nbytes + 127) & ~(uint64_t)63))) return NULL;
  walle_storage* s = (walle_storage*)memory;
  s->references = 1;
  s->nbytes = nbytes;
  s->magic = WALLE_STORAGE_MAGIC;
  __atomic_add_fetch(&walle_storage_live, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&walle_storage_made, 1, __ATOMIC_RELAXED);
  return s;
}

static inline void* walle_storage_data(walle_storage* s) { return (char*)s + WALLE_STORAGE_HEADER; }
static inline void walle_storage_retain(walle_storage* s) { __atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED); }
static inline int64_t walle_storage_references(walle_storage* s) {
  return __atomic_load_n(&s->references, __ATOMIC_ACQUIRE);
}
static inline void walle_storage_release(walle_storage* s) {
  if (__atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) == 0) {
    s->magic = 0;
    __atomic_sub_fetch(&walle_storage_live, 1, __ATOMIC_RELAXED);
    free(s);
  }
}
static inline int64_t walle_storage_count(int made) {
  return __atomic_load_n(made ? &walle_storage_made : &walle_storage_live, __ATOMIC_RELAXED);
}
#endif
