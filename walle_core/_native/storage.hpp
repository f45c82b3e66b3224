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
  uint64_t magic;     // tells a live storage from an address that is none
  uint64_t capacity;  // bytes from here to the end of the block
  void* block;        // what the allocator gave
} walle_storage;

#define WALLE_STORAGE_MAGIC 0x57A11E5707A6E0ULL
#define WALLE_STORAGE_HEADER 64
#define WALLE_HUGE_PAGE ((uint64_t)2 << 20)

// Only the module that defines Tensor makes and frees storages, so its copy counts for the whole process.
static int64_t walle_storage_live = 0;
static int64_t walle_storage_made = 0;
// Asked with the bytes of a storage before it is made, 0 refuses it; told their negative when it is freed. NULL: nobody counts.
typedef int (*walle_storage_meter_fn)(int64_t bytes);
static walle_storage_meter_fn walle_storage_meter = NULL;

// Blocks that were let go, for the next storages of their size: memory fresh from the system costs more to touch for the
// first time than most operators take to fill it. A slot is owned by whoever exchanged it for NULL.
#define WALLE_KEPT_SLOTS 16
#define WALLE_KEPT_LEAST ((uint64_t)128 << 10)  // smaller ones the allocator keeps by itself
#define WALLE_KEPT_MOST ((uint64_t)16 << 20)    // of one block
#define WALLE_KEPT_ALL ((uint64_t)32 << 20)     // of all blocks together
static walle_storage* walle_kept[WALLE_KEPT_SLOTS];
static uint64_t walle_kept_size[WALLE_KEPT_SLOTS];  // what a slot holds; a hint, as it changes after the slot
static uint64_t walle_kept_bytes = 0;

static inline walle_storage* walle_storage_kept(uint64_t whole) {
  for (int i = 0; i < WALLE_KEPT_SLOTS; ++i) {
    const uint64_t size = __atomic_load_n(&walle_kept_size[i], __ATOMIC_RELAXED);
    if (size < whole || size > whole + whole / 4) continue;
    walle_storage* s = __atomic_exchange_n(&walle_kept[i], (walle_storage*)NULL, __ATOMIC_ACQ_REL);
    if (!s) continue;
    __atomic_sub_fetch(&walle_kept_bytes, s->capacity, __ATOMIC_RELAXED);
    if (s->capacity >= whole) return s;
    free(s->block);
  }
  return NULL;
}
static inline int walle_storage_keep(walle_storage* s) {
  const uint64_t size = s->capacity;
  if (size < WALLE_KEPT_LEAST || size > WALLE_KEPT_MOST) return 0;
  if (__atomic_add_fetch(&walle_kept_bytes, size, __ATOMIC_RELAXED) <= WALLE_KEPT_ALL) {
    for (int i = 0; i < WALLE_KEPT_SLOTS; ++i) {
      walle_storage* none = NULL;
      if (__atomic_load_n(&walle_kept[i], __ATOMIC_RELAXED)) continue;
      if (__atomic_compare_exchange_n(&walle_kept[i], &none, s, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        __atomic_store_n(&walle_kept_size[i], size, __ATOMIC_RELAXED);
        return 1;
      }
    }
  }
  __atomic_sub_fetch(&walle_kept_bytes, size, __ATOMIC_RELAXED);
  return 0;
}

static inline walle_storage* walle_storage_new(uint64_t nbytes) {
  void* memory = NULL;
  if (nbytes > (UINT64_MAX >> 1)) return NULL;
  const uint64_t whole = WALLE_STORAGE_HEADER + ((nbytes + 127) & ~(uint64_t)63);
  if (walle_storage_meter && !walle_storage_meter((int64_t)whole)) return NULL;
  if (whole >= WALLE_KEPT_LEAST && whole <= WALLE_KEPT_MOST) {
    walle_storage* kept = walle_storage_kept(whole);
    if (kept) {
      kept->references = 1;
      kept->nbytes = nbytes;
      kept->magic = WALLE_STORAGE_MAGIC;
      __atomic_add_fetch(&walle_storage_live, 1, __ATOMIC_RELAXED);
      __atomic_add_fetch(&walle_storage_made, 1, __ATOMIC_RELAXED);
      return kept;
    }
  }
  const int huge = nbytes >= WALLE_HUGE_PAGE;
  // Arrays that all begin at the same place of a page get in each other's way in the cache: large ones begin apart.
  const uint64_t apart = huge ? (uint64_t)(__atomic_load_n(&walle_storage_made, __ATOMIC_RELAXED) & 7) * 576 : 0;
  if (posix_memalign(&memory, huge ? WALLE_HUGE_PAGE : 64, whole + apart)) return NULL;
#ifdef MADV_HUGEPAGE
  // A product streams through its weights: with pages of 4 KiB it would wait for an address translation every 64 rows.
  // The last part, less than a huge page, stays in small ones, so that no memory is held that was not asked for.
  if (huge) (void)madvise(memory, (whole + apart) & ~(WALLE_HUGE_PAGE - 1), MADV_HUGEPAGE);
#endif
  walle_storage* s = (walle_storage*)((char*)memory + apart);
  s->block = memory;
  s->references = 1;
  s->nbytes = nbytes;
  s->magic = WALLE_STORAGE_MAGIC;
  s->capacity = whole;
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
    if (walle_storage_meter) (void)walle_storage_meter(-(int64_t)(WALLE_STORAGE_HEADER + ((s->nbytes + 127) & ~(uint64_t)63)));
    s->magic = 0;
    __atomic_sub_fetch(&walle_storage_live, 1, __ATOMIC_RELAXED);
    if (!walle_storage_keep(s)) free(s->block);
  }
}
static inline int walle_storage_is_metered(void) { return walle_storage_meter != NULL; }
static inline void walle_storage_set_meter(walle_storage_meter_fn meter) { walle_storage_meter = meter; }
static inline int64_t walle_storage_count(int made) {
  return __atomic_load_n(made ? &walle_storage_made : &walle_storage_live, __ATOMIC_RELAXED);
}
#endif
