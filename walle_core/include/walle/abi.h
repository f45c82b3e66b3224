/* The contract between compiled CPU plugins and walle_core. Append only; a break raises WALLE_KERNEL_ABI. */
#ifndef WALLE_ABI_H
#define WALLE_ABI_H
#include <stddef.h>
#include <stdint.h>

#define WALLE_KERNEL_ABI 1
#define WALLE_KERNEL_CAPSULE "walle.kernel_table"

#ifdef __cplusplus
extern "C" {
#endif

/* One invocation of a kernel on a part of its iteration space.
 *
 * buf:        operand addresses, outputs first, then inputs, then scratch, as docs/kernels.md lists per family.
 * arg:        parameters, int64; a double travels as its bit pattern (walle_f64).
 * begin, end: the half-open part of the step's work units to do. Units are independent: any split, any order,
 *             any thread gives the same result.
 * thread:     index of the executing thread, 0 <= thread < threads: selects a slice of per-thread scratch.
 */
typedef struct walle_call {
  void* const* buf;
  const int64_t* arg;
  int64_t begin, end;
  int32_t thread, threads;
} walle_call;

typedef void (*walle_kernel_fn)(const walle_call*);

typedef struct walle_kernel {
  const char* family; /* "unary" */
  const char* op;     /* "Exp" */
  const char* dtype;  /* "float32"; of the first input where input and output differ */
  walle_kernel_fn fn;
} walle_kernel;

typedef struct walle_kernel_table {
  uint32_t abi;        /* WALLE_KERNEL_ABI */
  uint32_t entry_size; /* sizeof(walle_kernel) */
  const char* isa;     /* "scalar" */
  size_t count;
  const walle_kernel* kernels;
  uint32_t lanes;      /* float32 lanes of one vector: packing and tiles derive from it */
} walle_kernel_table;

static inline double walle_f64(int64_t bits) {
  union { int64_t i; double f; } u;
  u.i = bits;
  return u.f;
}

#ifdef __cplusplus
}
#endif
#endif
