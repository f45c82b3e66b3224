// Convolution and matrix product of float32 in IEEE half precision, where the ISA multiplies by a lane (by_lane.hpp): operands
// are rounded to half floats (beyond 65504 they are infinite) and so are short partial sums, which are added up in float32.
//
// fp16_dot/pack:  as bf16_dot/pack, but a panel's word i holds, per 2N columns, these at k = 2i, then these at k = 2i + 1.
// fp16_dot/conv:  as bf16_dot/conv.
//
// The vector header offers F16, a value of 2N half floats, with set(0), load(const uint16_t*), add, pin, widen(x, &low, &high),
// as_f16(I32), pack_f16(F32, F32) and madd_f16<L>(words of A, b, c), which adds b times half float L.
#ifndef WALLE_KERNELS_FP16_DOT_HPP
#define WALLE_KERNELS_FP16_DOT_HPP
#include "walle/kernels/halves.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int64_t kHalfWords = 64;  // words of a partial sum, a multiple of N

inline void fp16_dot_pack(const walle_call* call) {
  const int64_t O = call->arg[1], C = call->arg[2], depth = C * call->arg[3];
  const int64_t so = call->arg[4], sc = call->arg[5], st = call->arg[6];
  const float scale = float(walle_f64(call->arg[7]));
  const int64_t panels = (O + kNr - 1) / kNr, words = (depth + 1) / 2;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n0 = unit % panels * kNr;
    const float* w = static_cast<const float*>(call->buf[1]) + (unit / panels * O + n0) * so;
    uint16_t* out = static_cast<uint16_t*>(call->buf[0]) + unit * words * 2 * kNr;
    for (int64_t i = 0; i < words; ++i)
      for (int64_t n = 0; n < kNr; n += 2 * F32::N)
        for (int64_t k = 2 * i; k < 2 * i + 2; ++k)
          for (int half = 0; half < 2; ++half, out += F32::N) {
            float some[F32::N];
            for (int j = 0; j < F32::N; ++j) {
              const int64_t o = n + half * F32::N + j;
              some[j] = n0 + o < O && k < depth ? scale * w[o * so + k % C * sc + k / C * st] : 0.0f;
            }
            store_f16(F32::load(some), out);
          }
  }
}

struct Fp16Pairs : HalfPairs<Fp16Pairs> {
  static WALLE_INLINE I32 pack(F32 low, F32 high) { return pack_f16(low, high); }

  // acc[r][v]: sums of 2N columns, of even k where v is even.
  template <int R, int V>
  static __attribute__((noinline)) void sums(const Fp16Pairs& kind, const int32_t* a, int64_t stride, int64_t words, const int32_t* b) {
    float total[R * V * F32::N];
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) kind.init(v).store(total + (r * V + v) * F32::N);
    const int32_t* p[R];
    for (int r = 0; r < R; ++r) p[r] = a + r * stride;
    while (words > 0) {
      const int64_t some = words < kHalfWords ? words : kHalfWords;
      F16 acc[R][V];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] = F16::set(0);
      const auto lane = [](auto at, int v, I32 w, I32 x, F16 sum) __attribute__((always_inline)) {
        constexpr int even = 2 * decltype(at)::value;
        return v % 2 ? madd_f16<even + 1>(w, as_f16(x), sum) : madd_f16<even>(w, as_f16(x), sum);
      };
      by_lanes<I32>(acc, p, b, some / I32::N, reinterpret_cast<const char*>(b), 0, lane);
      for (int64_t k = some % I32::N; k > 0; --k, b += kNr) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const I32 word = I32::set(*p[r]++);
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) acc[r][v] = lane(Lane<0>{}, v, word, I32::load(b + v * I32::N), acc[r][v]);
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; v += 2) {
          float* const to = total + (r * V + v) * F32::N;
          F32 low[2], high[2];
          widen(acc[r][v], low, high), widen(acc[r][v + 1], low + 1, high + 1);
          add(F32::load(to), add(low[0], low[1])).store(to);
          add(F32::load(to + F32::N), add(high[0], high[1])).store(to + F32::N);
        }
      words -= some;
    }
    kind.finish(total, R, V);
  }
};

inline void fp16_dot_conv(const walle_call* call) { half_conv<Fp16Pairs>(call); }

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_FP16_DOT_ROWS                                               \
  {"fp16_dot", "pack", "float32", ::walle::WALLE_ISA::fp16_dot_pack},      \
  {"fp16_dot", "conv", "float32", ::walle::WALLE_ISA::fp16_dot_conv},
#endif
