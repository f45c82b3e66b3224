// The instances of the reduction templates.
#include "walle/matrix/reduce.hpp"

namespace walle { namespace matrix {

#define WALLE_BY_CODE(fn)                                                                          \
    case kI8: return fn<int8_t>(op); case kI16: return fn<int16_t>(op);                            \
    case kI32: return fn<int32_t>(op); case kI64: return fn<int64_t>(op);                          \
    case kU8: return fn<uint8_t>(op); case kU16: return fn<uint16_t>(op);                          \
    case kU32: return fn<uint32_t>(op); case kU64: return fn<uint64_t>(op);                        \
    case kF32: return fn<float>(op); case kF64: return fn<double>(op);

reduce_fn find_reduction(int op, int code) {
  switch (code) {
    WALLE_BY_CODE(ordered)
    case kBool: return op == kMaxOf || op == kMinOf ? ordered<uint8_t>(op) : nullptr;
    case kC64: return unordered<c64>(op);
    case kC128: return unordered<c128>(op);
    default: return nullptr;
  }
}
reduce_fn find_cumulative(int op, int code) {
  switch (code) {
    WALLE_BY_CODE(running)
    case kC64: return running<c64>(op);
    case kC128: return running<c128>(op);
    default: return nullptr;
  }
}
void squared_deviations(void* dst, const void* src, const void* mean, int64_t outer, int64_t n, int code, const walle_stop* stop) {
  if (code == kF32) return deviations<float>(dst, src, mean, outer, n, stop);
  deviations<double>(dst, src, mean, outer, n, stop);
}

}}  // namespace walle::matrix
