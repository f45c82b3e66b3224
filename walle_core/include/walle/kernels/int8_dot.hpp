// Convolution and matrix product of 8-bit integers where a processor multiplies four unsigned bytes by four signed ones at
// once: a window product (windows.hpp) with a quarter of the words of float32. Activations that are signed are read 128 higher;
// padding is the zero point. Both are undone in the bias: sum of (x - z) * w = sum of x * w - z * (sum of w). Sums are exact.
//
// int8_dot/pack:  dtype of w. buf dst, bias (int32 [groups][panels*kNr], changed in place), w. arg groups, O (per group), C
//                 (per group), taps, strides of w in o, c and tap, w_zero, x_zero (of the bytes as they are read).
//                 w - w_zero fits in a signed byte. dst[group][panel][word][kNr]: bytes of four neighbouring k = tap*C + c,
//                 zero where o >= O or k >= C*taps. Units: groups * ceil(O / kNr).
//
// int8_dot/conv:  dtype of x. The kind's buf: bias that pack has changed, scale (float32 [groups][panels*kNr]).
//                 The kind's arg: x_zero (of x), 23..26 Requantise.
#ifndef WALLE_KERNELS_INT8_DOT_HPP
#define WALLE_KERNELS_INT8_DOT_HPP
#include "walle/kernels/int8_tile.hpp"
#include "walle/kernels/windows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> inline void int8_dot_pack(const walle_call* call) {
  const int64_t O = call->arg[1], C = call->arg[2], depth = C * call->arg[3];
  const int64_t so = call->arg[4], sc = call->arg[5], st = call->arg[6];
  const int32_t w_zero = int32_t(call->arg[7]), x_zero = int32_t(call->arg[8]);
  const int64_t panels = (O + kNr - 1) / kNr, words = (depth + 3) / 4;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n0 = unit % panels * kNr;
    const T* w = static_cast<const T*>(call->buf[2]) + (unit / panels * O + n0) * so;
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + unit * words * kNr;
    int32_t* bias = static_cast<int32_t*>(call->buf[1]) + unit * kNr;
    for (int64_t n = 0; n < kNr; ++n) {
      int32_t sum = 0;
      for (int64_t i = 0; i < words; ++i) {
        uint32_t word = 0;
        for (int64_t k = 4 * i; k < depth && k < 4 * i + 4 && n0 + n < O; ++k) {
          const int32_t value = int32_t(w[n * so + k % C * sc + k / C * st]) - w_zero;
          word |= (uint32_t(value) & 0xffu) << 8 * (k - 4 * i);
          sum += value;
        }
        out[i * kNr + n] = word;
      }
      bias[n] = int32_t(uint32_t(bias[n]) - uint32_t(x_zero) * uint32_t(sum));
    }
  }
}

struct IntQuads {
  typedef uint8_t In;
  typedef I32 Sum;
  typedef int32_t Number;
  static constexpr int kBytes = 1;
  const walle_call* call;
  uint8_t flip, zero;  // the highest bit of signed activations; the zero point as it is read
  Requantise requantise;
  IntTile place;  // bias, scale and result of the tile at hand

  WALLE_INLINE void copy(const uint8_t* from, int64_t n, unsigned char* to) const {
    if (!flip) {
      std::memcpy(to, from, size_t(n));
      return;
    }
    for (int64_t i = 0; i < n; ++i) to[i] = from[i] ^ flip;
  }
  WALLE_INLINE void blank(int64_t n, unsigned char* to) const { std::memset(to, zero, size_t(n)); }
  void panel(int64_t column, int64_t cols, int64_t index) {
    place.cols = cols, column_ = column;
    place.bias = static_cast<const int32_t*>(call->buf[3]) + index * kNr;
    place.scale = static_cast<const float*>(call->buf[4]) + index * kNr;
  }
  void tile(int64_t m) { place.c = static_cast<uint8_t*>(call->buf[0]) + m * place.ldc + column_; }
  WALLE_INLINE I32 init(int v) const { return I32::load(place.bias + v * I32::N); }
  static WALLE_INLINE I32 dot(I32 a, I32 b, I32 c) { return dot_quads(a, b, c); }
  WALLE_INLINE void finish(const int32_t* sums, int height, int vectors) const {
    int8_finish(place, sums, height, vectors, requantise);
  }
  int64_t column_;
};

template <bool kSigned> inline void int8_dot_conv(const walle_call* call) {
  const uint8_t flip = kSigned ? 0x80 : 0;
  IntQuads kind{call, flip, uint8_t(uint8_t(call->arg[kWindowArgs]) ^ flip), Requantise::make(call->arg + kWindowArgs + 1),
                {}, 0};
  kind.place.ldc = call->arg[8];
  window_product(call, kind);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_INT8_DOT_ROWS                                                   \
  {"int8_dot", "pack", "int8", ::walle::WALLE_ISA::int8_dot_pack<int8_t>},     \
  {"int8_dot", "pack", "uint8", ::walle::WALLE_ISA::int8_dot_pack<uint8_t>},   \
  {"int8_dot", "conv", "int8", ::walle::WALLE_ISA::int8_dot_conv<true>},       \
  {"int8_dot", "conv", "uint8", ::walle::WALLE_ISA::int8_dot_conv<false>},
#endif
