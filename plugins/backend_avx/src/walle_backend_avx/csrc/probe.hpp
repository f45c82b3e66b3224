// Which of the compiled tables this CPU and operating system can run. WALLE_ISA_ROWS comes from setup.py, best first:
// ROW(isa, ISA that it extends or nothing, HAS(feature) && ...), with exactly the features that the ISA's library was compiled for.
#ifndef WALLE_AVX_PROBE_HPP
#define WALLE_AVX_PROBE_HPP
#include "walle/abi.h"

#define HAS(feature) (__builtin_cpu_supports(#feature) != 0)

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
