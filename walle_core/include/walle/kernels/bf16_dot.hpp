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
#include "walle/kernels/halves.hpp"

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

struct Bf16Pairs : HalfPairs<Bf16Pairs> {
  static WALLE_INLINE I32 pack(F32 low, F32 high) { return pack_bf16(low, high); }
  static WALLE_INLINE F32 dot(I32 a, I32 b, F32 c) { return dot_bf16(a, b, c); }
#ifdef WALLE_BY_LANE
  template <int L> static WALLE_INLINE F32 dot_lane(I32 a, I32 b, F32 c) { return dot_bf16_lane<L>(a, b, c); }
#endif
  template <int R, int V>
  static void sums(const Bf16Pairs& kind, const int32_t* a, int64_t stride, int64_t words, const int32_t* b) {
    window_tile<Bf16Pairs, R, V>(kind, a, stride, words, b);
  }
};

inline void bf16_dot_conv(const walle_call* call) { half_conv<Bf16Pairs>(call); }

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_BF16_DOT_ROWS                                               \
  {"bf16_dot", "pack", "float32", ::walle::WALLE_ISA::bf16_dot_pack},      \
  {"bf16_dot", "conv", "float32", ::walle::WALLE_ISA::bf16_dot_conv},
#endif
