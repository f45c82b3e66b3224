// Reference-counted, 64-byte aligned memory that no interpreter owns: what a Tensor holds and what crosses interpreters.
#ifndef WALLE_STORAGE_HPP
#define WALLE_STORAGE_HPP
#include <stdint.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

typedef struct walle_storage {
  int64_t references;
  uint64_t nbytes;
  uint64_t magic;  // tells a live storage from an address that is none
} walle_storage;

#define WALLE_STORAGE_MAGIC 0x57A11E5707A6E0ULL
#define WALLE_STORAGE_HEADER 64
#define WALLE_HUGE_PAGE ((uint64_t)2 << 20)

// Only the module that defines Tensor makes and frees storages, so its copy counts for the whole process.
static int64_t walle_storage_live = 0;
static int64_t walle_storage_made = 0;

static inline walle_storage* walle_storage_new(uint64_t nbytes) {
  void* memory = NULL;
  if (nbytes > (UINT64_MAX >> 1)) return NULL;
  const uint64_t whole = WALLE_STORAGE_HEADER + ((nbytes + 127) & ~(uint64_t)63);
  const int huge = nbytes >= WALLE_HUGE_PAGE;
  if (posix_memalign(&memory, huge ? WALLE_HUGE_PAGE : 64, whole)) return NULL;
#ifdef MADV_HUGEPAGE
  // A product streams through its weights: with pages of 4 KiB it would wait for an address translation every 64 rows.
  // The last part, less than a huge page, stays in small ones, so that no memory is held that was not asked for.
  if (huge) (void)madvise(memory, whole & ~(WALLE_HUGE_PAGE - 1), MADV_HUGEPAGE);
#endif
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
