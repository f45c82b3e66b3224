#define WALLE_ISA neon
#include "vec_neon.hpp"
#include "walle/kernels/table.hpp"
WALLE_EXPORT_TABLE(walle_kernels_neon)
