#define WALLE_ISA avx2
#include "vec_avx2.hpp"
#include "walle/kernels/table.hpp"
WALLE_EXPORT_TABLE(walle_kernels_avx2)
