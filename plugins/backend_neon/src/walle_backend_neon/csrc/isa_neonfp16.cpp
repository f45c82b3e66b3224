#define WALLE_ISA neonfp16
#define WALLE_NEON_FP16
#include "vec_neon.hpp"
#include "walle/kernels/export.hpp"
#include "walle/kernels/fp16_dot.hpp"
WALLE_EXPORT_ROWS(walle_kernels_neonfp16, WALLE_FP16_DOT_ROWS)
