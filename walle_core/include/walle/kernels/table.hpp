// Collects every kernel family into the one exported table of an ISA object.
//
// A family header defines WALLE_<FAMILY>_ROWS, a comma-terminated list of {family, op, dtype, function} rows.
#ifndef WALLE_KERNELS_TABLE_HPP
#define WALLE_KERNELS_TABLE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/binary.hpp"
#include "walle/kernels/conv.hpp"
#include "walle/kernels/convert.hpp"
#include "walle/kernels/cumsum.hpp"
#include "walle/kernels/depthwise.hpp"
#include "walle/kernels/expression.hpp"
#include "walle/kernels/export.hpp"
#include "walle/kernels/fill.hpp"
#include "walle/kernels/gather.hpp"
#include "walle/kernels/gemm.hpp"
#include "walle/kernels/int8_conv.hpp"
#include "walle/kernels/int8_depthwise.hpp"
#include "walle/kernels/int8_vector.hpp"
#include "walle/kernels/norm.hpp"
#include "walle/kernels/pool.hpp"
#include "walle/kernels/probe.hpp"
#include "walle/kernels/raster.hpp"
#include "walle/kernels/reduce.hpp"
#include "walle/kernels/select.hpp"
#include "walle/kernels/softmax.hpp"
#include "walle/kernels/topk.hpp"
#include "walle/kernels/unary.hpp"
#include "walle/kernels/winograd.hpp"

#define WALLE_EXPORT_TABLE(symbol)                                                        \
  WALLE_EXPORT_ROWS(symbol,                                                               \
  WALLE_UNARY_ROWS WALLE_BINARY_ROWS                                                      \
  WALLE_DEPTHWISE_ROWS WALLE_POOL_ROWS WALLE_WINOGRAD_ROWS WALLE_EXPRESSION_ROWS          \
  WALLE_GEMM_ROWS WALLE_CONV_ROWS WALLE_SOFTMAX_ROWS WALLE_NORM_ROWS WALLE_GATHER_ROWS    \
  WALLE_CUMSUM_ROWS WALLE_CONVERT_ROWS WALLE_FILL_ROWS WALLE_RASTER_ROWS                  \
  WALLE_SELECT_ROWS WALLE_REDUCE_ROWS WALLE_TOPK_ROWS WALLE_PROBE_ROWS                    \
  WALLE_INT8_CONV_ROWS WALLE_INT8_DEPTHWISE_ROWS WALLE_INT8_VECTOR_ROWS)
#endif
