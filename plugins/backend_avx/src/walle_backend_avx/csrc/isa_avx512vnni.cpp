#define WALLE_ISA avx512vnni
#define WALLE_AVX512_VNNI
#include "vec_avx512.hpp"
#include "walle/kernels/export.hpp"
#include "walle/kernels/int8_conv.hpp"
#include "walle/kernels/int8_depthwise.hpp"
WALLE_EXPORT_ROWS(walle_kernels_avx512vnni, WALLE_INT8_CONV_ROWS WALLE_INT8_DEPTHWISE_ROWS)
