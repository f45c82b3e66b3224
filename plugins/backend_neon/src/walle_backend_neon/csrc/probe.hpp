// Which of the compiled tables this CPU and operating system can run. WALLE_ISA_ROWS comes from setup.py, best first:
// ROW(isa, ISA that it extends or nothing, HAS(feature) && ...), with exactly the features that the ISA's library was compiled for.
#ifndef WALLE_NEON_PROBE_HPP
#define WALLE_NEON_PROBE_HPP
#include "walle/abi.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
static bool walle_has_fp16() { return getauxval(AT_HWCAP) >> 10 & 1; }
static bool walle_has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }
static bool walle_has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }
static bool walle_has_bf16() { return getauxval(AT_HWCAP2) >> 14 & 1; }
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
static bool walle_has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
static bool walle_has_fp16() { return walle_has("hw.optional.arm.FEAT_FP16"); }
static bool walle_has_dotprod() { return walle_has("hw.optional.arm.FEAT_DotProd"); }
static bool walle_has_i8mm() { return walle_has("hw.optional.arm.FEAT_I8MM"); }
static bool walle_has_bf16() { return walle_has("hw.optional.arm.FEAT_BF16"); }
#else  // the operating system does not tell: the table that every AArch64 runs
static inline bool walle_has_fp16() { return false; }
static inline bool walle_has_dotprod() { return false; }
static inline bool walle_has_i8mm() { return false; }
static inline bool walle_has_bf16() { return false; }
#endif
#define HAS(feature) walle_has_##feature()

#define ROW(isa, extends, usable) extern "C" const walle_kernel_table walle_kernels_##isa;
WALLE_ISA_ROWS
#undef ROW

struct walle_choice {
  const char* isa;
  const char* extends;  // "" of a complete table
  const walle_kernel_table* table;
  bool (*usable)();
};

static const walle_choice walle_choices[] = {
#define ROW(isa, extends, usable) {#isa, #extends, &walle_kernels_##isa, [] { return usable; }},
    WALLE_ISA_ROWS
#undef ROW
    {nullptr, nullptr, nullptr, nullptr}};
#endif
