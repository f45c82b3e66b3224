// The kernel tables of a plugin's build. Before this: WALLE_ISA_ROWS (from setup.py, best first), a list of
// ROW(isa, ISA that it extends or nothing, HAS(feature) && ...) with exactly the features that the ISA's library was compiled
// for; and HAS, true if the CPU and the operating system have a feature.
#ifndef WALLE_CHOICES_HPP
#define WALLE_CHOICES_HPP
#include "walle/abi.h"

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
