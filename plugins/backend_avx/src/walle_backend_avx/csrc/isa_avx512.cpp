#define WALLE_ISA avx512
#include "vec_avx512.hpp"
#include "walle/kernels/table.hpp"
WALLE_EXPORT_TABLE(walle_kernels_avx512)
