// Copies short runs of bytes inline; long ones through memcpy.
#ifndef WALLE_KERNELS_COPY_HPP
#define WALLE_KERNELS_COPY_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace walle { namespace WALLE_ISA { namespace {

// Chunks of W bytes, the last one overlapping its neighbour; n >= W.
template <size_t W> inline void copy_chunks(char* d, const char* s, size_t n) {
  for (size_t i = 0; i + W < n; i += W) std::memcpy(d + i, s + i, W);
  std::memcpy(d + n - W, s + n - W, W);
}
// n bytes that do not overlap.
inline void copy_run(void* dst, const void* src, size_t n) {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
  if (n > 512) {
    std::memcpy(d, s, n);
  } else if (n >= 32) {
    copy_chunks<32>(d, s, n);
  } else if (n >= 8) {
    copy_chunks<8>(d, s, n);
  } else if (n >= 4) {
    copy_chunks<4>(d, s, n);
  } else {
    for (size_t i = 0; i < n; ++i) d[i] = s[i];
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
