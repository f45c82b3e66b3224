#define WALLE_ISA avxvnni
#define WALLE_AVX_VNNI
#include "vec_avx2.hpp"
#include "walle/kernels/export.hpp"
#include "walle/kernels/int8_conv.hpp"
#include "walle/kernels/int8_depthwise.hpp"
WALLE_EXPORT_ROWS(walle_kernels_avxvnni, WALLE_INT8_CONV_ROWS WALLE_INT8_DEPTHWISE_ROWS)
