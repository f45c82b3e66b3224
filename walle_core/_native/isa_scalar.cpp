#define WALLE_ISA scalar
#include "walle/simd/scalar.hpp"
#include "walle/kernels/table.hpp"
WALLE_EXPORT_TABLE(walle_kernels_scalar)
