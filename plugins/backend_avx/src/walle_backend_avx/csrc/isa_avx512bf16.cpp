#define WALLE_ISA avx512bf16
#define WALLE_AVX512_BF16
#include "vec_avx512.hpp"
#include "walle/kernels/bf16_dot.hpp"
#include "walle/kernels/export.hpp"
WALLE_EXPORT_ROWS(walle_kernels_avx512bf16, WALLE_BF16_DOT_ROWS)
