#define WALLE_ISA neonbf16
#define WALLE_NEON_BF16
#include "vec_neon.hpp"
#include "walle/kernels/bf16_dot.hpp"
#include "walle/kernels/export.hpp"
WALLE_EXPORT_ROWS(walle_kernels_neonbf16, WALLE_BF16_DOT_ROWS)
