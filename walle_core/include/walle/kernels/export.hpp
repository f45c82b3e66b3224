// The one symbol of an ISA object: a table of rows. A complete table is made by table.hpp; an object with further rows for a
// processor with more features names just those: the backend takes each row from the first table that has it, and all
// tables of one backend have the same number of lanes.
#ifndef WALLE_KERNELS_EXPORT_HPP
#define WALLE_KERNELS_EXPORT_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"

#define WALLE_STR_(x) #x
#define WALLE_STR(x) WALLE_STR_(x)

#define WALLE_EXPORT_ROWS(symbol, ...)                                                    \
  namespace walle { namespace WALLE_ISA { namespace {                                     \
  const walle_kernel walle_rows[] = {__VA_ARGS__};                                        \
  }}}                                                                                     \
  extern "C" __attribute__((visibility("default"))) const walle_kernel_table symbol = {   \
      WALLE_KERNEL_ABI, sizeof(walle_kernel), WALLE_STR(WALLE_ISA),                       \
      sizeof(walle::WALLE_ISA::walle_rows) / sizeof(walle_kernel),                        \
      walle::WALLE_ISA::walle_rows, WALLE_LANES};
#endif
