// Convolution and matrix product of float32 in reduced precision: operands rounded to bfloat16 (to nearest even), products
// summed in float32. A window product (windows.hpp) with half the words of float32; weights are rounded once, when they are
// packed, activations when their pixels are copied.
//
// bf16_dot/pack:  buf dst, w (float32). arg groups, O (per group), C (per group), taps, strides of w in o, c and tap, f(scale).
//                 dst[group][panel][word][kNr]: bfloat16 of scale * w for two neighbouring k = tap*C + c, zero where o >= O or
//                 k >= C*taps. Units: groups * ceil(O / kNr).
//
// bf16_dot/conv:  dst, x, bias and residual are float32. The kind's buf: bias [groups*O] (or null), residual (or null).
//                 The kind's arg: ldr, 23..25 activation.
#ifndef WALLE_KERNELS_BF16_DOT_HPP
#define WALLE_KERNELS_BF16_DOT_HPP
#include "walle/kernels/windows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline uint32_t bf16_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;  // NaN stays one
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

inline void bf16_dot_pack(const walle_call* call) {
  const int64_t O = call->arg[1], C = call->arg[2], depth = C * call->arg[3];
  const int64_t so = call->arg[4], sc = call->arg[5], st = call->arg[6];
  const float scale = float(walle_f64(call->arg[7]));
  const int64_t panels = (O + kNr - 1) / kNr, words = (depth + 1) / 2;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n0 = unit % panels * kNr;
    const float* w = static_cast<const float*>(call->buf[1]) + (unit / panels * O + n0) * so;
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + unit * words * kNr;
    const auto at = [&](int64_t n, int64_t k) {
      return n0 + n < O && k < depth ? bf16_bits(scale * w[n * so + k % C * sc + k / C * st]) : 0u;
    };
    for (int64_t i = 0; i < words; ++i)
      for (int64_t n = 0; n < kNr; ++n) out[i * kNr + n] = at(n, 2 * i + 1) << 16 | at(n, 2 * i);
  }
}

struct Bf16Pairs {
  typedef float In;
  typedef F32 Sum;
  typedef float Number;
  static constexpr int kBytes = 2;
  const walle_call* call;
  Activation act;
  Tile place;  // bias, residual and result of the tile at hand

  // Whole vectors are written: up to 2N - 1 numbers beyond n.
  WALLE_INLINE void copy(const float* from, int64_t n, unsigned char* to) const {
    int64_t i = 0;
    for (; i + 2 * F32::N <= n; i += 2 * F32::N) put(F32::load(from + i), F32::load(from + i + F32::N), to + 2 * i);
    if (i == n) return;
    const int64_t left = n - i, more = left - F32::N;
    const F32 low = F32::load(from + i, size_t(left < F32::N ? left : F32::N));
    put(low, more > 0 ? F32::load(from + i + F32::N, size_t(more)) : F32::set(0.0f), to + 2 * i);
  }
  static WALLE_INLINE void put(F32 low, F32 high, unsigned char* to) {
    const I32 words = pack_bf16(low, high);
    std::memcpy(to, &words, sizeof words);  // odd runs are not aligned to words
  }
  WALLE_INLINE void blank(int64_t n, unsigned char* to) const { std::memset(to, 0, size_t(2 * n)); }
  void panel(int64_t column, int64_t cols, int64_t) {
    const float* bias = static_cast<const float*>(call->buf[3]);
    place.cols = cols, place.bias = bias ? bias + column : nullptr;
    column_ = column;
  }
  void tile(int64_t m) {
    const float* residual = static_cast<const float*>(call->buf[4]);
    place.c = static_cast<float*>(call->buf[0]) + m * place.ldc + column_;
    place.residual = residual ? residual + m * place.ldr + column_ : nullptr;
  }
  WALLE_INLINE F32 init(int v) const {
    const int64_t left = place.cols - v * F32::N;
    if (!place.bias || left <= 0) return F32::set(0.0f);
    return F32::load(place.bias + v * F32::N, size_t(left < F32::N ? left : F32::N));
  }
  static WALLE_INLINE F32 dot(I32 a, I32 b, F32 c) { return dot_bf16(a, b, c); }
  WALLE_INLINE void finish(const float* sums, int height, int vectors) const {
    F32 vector[kMr * kNv];
    for (int i = 0; i < height * vectors; ++i) vector[i] = F32::load(sums + i * F32::N);
    tile_finish(place, vector, height, vectors, act, false);
  }
  int64_t column_;
};

inline void bf16_dot_conv(const walle_call* call) {
  Bf16Pairs kind{call, Activation::make(call->arg + kWindowArgs + 1), {}, 0};
  kind.place.ldc = call->arg[8], kind.place.ldr = call->arg[kWindowArgs], kind.place.last = true;
  window_product(call, kind);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_BF16_DOT_ROWS                                               \
  {"bf16_dot", "pack", "float32", ::walle::WALLE_ISA::bf16_dot_pack},      \
  {"bf16_dot", "conv", "float32", ::walle::WALLE_ISA::bf16_dot_conv},
#endif
