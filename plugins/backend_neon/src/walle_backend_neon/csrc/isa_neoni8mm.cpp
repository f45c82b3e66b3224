#define WALLE_ISA neoni8mm
#define WALLE_NEON_DOT
#include "vec_neon.hpp"
#include "walle/kernels/export.hpp"
#include "walle/kernels/int8_conv.hpp"
#include "walle/kernels/int8_depthwise.hpp"
WALLE_EXPORT_ROWS(walle_kernels_neoni8mm, WALLE_INT8_CONV_ROWS WALLE_INT8_DEPTHWISE_ROWS)
