// Packed weights of products of bytes: in quads of four neighbouring k, or in pairs of two, widened to int16.
//
// A product of quads takes unsigned (kSignedQuads: signed) by signed bytes. Where the ISA sums neighbouring products in 16 bits (kQuadLimit), a
// panel's weights are split: the main part keeps within the limit, whatever the activations are, and what is left over
// goes to extra quads, which are added at the end. A panel is `paired` where two quads share one 16-bit sum: fewer
// instructions, but more left over. Weights of which too much is left over are better off in pairs, which have no limit.
//
// int8/quads_plan:  dtype of w. buf dst (int32[units][2]), w. arg as quads_pack.
//             dst: how many extra quads the panel has, whether it is paired.
// int8/quads_pack:  dtype of w. buf dst, w, plan, at, extra, from, bias', bias.
//             arg groups, O (per group), C (per group), taps, strides of w in o, c and tap, w_zero, x_zero.
//             dst[group][panel][quad][kNr]: quads of neighbouring k = tap*C + c, zero where o >= O or k >= C*taps.
//             at (int32[units]): the panel's first extra quad. extra[at][kNr]: quads; from[at]: at which k / 4.
//             bias'[units][kNr] = bias - x_zero * (sum of the channel's weights less w_zero).
//             x_zero: of x as bytes of the sign of the ISA's quads. Units: groups * ceil(O / kNr).
// int8/pairs_pack:  dtype of w. buf dst, w. arg as quads_pack. dst[group][panel][pair][kNr]: int16 pairs.
#ifndef WALLE_KERNELS_INT8_QUADS_HPP
#define WALLE_KERNELS_INT8_QUADS_HPP
#include "walle/kernels/int8_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// The weights of one panel, less their zero point.
template <class T> struct QuadWeights {
  const T* w;
  int64_t n0, O, C, depth, so, sc, st;
  int32_t zero;

  static QuadWeights make(const walle_call* call, int64_t unit) {
    const int64_t* arg = call->arg;
    const int64_t panels = (arg[1] + kNr - 1) / kNr, n0 = unit % panels * kNr;
    const T* w = static_cast<const T*>(call->buf[1]) + (unit / panels * arg[1] + n0) * arg[4];
    return {w, n0, arg[1], arg[2], arg[2] * arg[3], arg[4], arg[5], arg[6], int32_t(arg[7])};
  }
  int32_t operator()(int64_t n, int64_t k) const {
    return n0 + n < O && k < depth ? int32_t(w[n * so + k % C * sc + k / C * st]) - zero : 0;
  }
  int64_t quads() const { return (depth + 3) / 4; }
};

// What is left of two quads of a panel.
struct QuadRest {
  int32_t w[2][kNr][4];

  // Moves what fits into quads to `to` ([kNr] quads each); `shared`: both quads share their sums.
  void take(int first, int count, bool shared, uint32_t* to) {
    for (int n = 0; n < kNr; ++n) {
      uint32_t packed[2] = {0, 0};
      for (int half = 0; half < 4; half += 2) {
        int32_t most = 127, least = -128;
        for (int q = 0; q < count; ++q) {
          if (kQuadLimit && (q == 0 || !shared)) most = kQuadLimit, least = -kQuadLimit;
          for (int i = half; i < half + 2; ++i) {
            int32_t& rest = w[first + q][n][i];
            const int32_t high = most < 127 ? most : 127, low = least > -128 ? least : -128;
            const int32_t taken = rest > high ? high : rest < low ? low : rest;
            rest -= taken;
            if (kQuadLimit) (taken > 0 ? most : least) -= taken;
            packed[q] |= (uint32_t(taken) & 0xffu) << 8 * i;
          }
        }
      }
      for (int q = 0; q < count; ++q) to[q * kNr + n] = packed[q];
    }
  }
  bool any(int q) const {
    for (int n = 0; n < kNr; ++n)
      for (int i = 0; i < 4; ++i)
        if (w[q][n][i]) return true;
    return false;
  }
};

// Splits a panel. main(quad, count, quads) and extra(quad, quads) get what belongs there.
template <class T, class Main, class Extra>
void quad_split(const QuadWeights<T>& weights, bool paired, Main&& main, Extra&& extra) {
  const int64_t quads = weights.quads();
  QuadRest rest;
  uint32_t made[2 * kNr];
  for (int64_t q = 0; q < quads; q += 2) {
    const int count = q + 1 < quads ? 2 : 1;
    for (int i = 0; i < count; ++i)
      for (int n = 0; n < kNr; ++n)
        for (int j = 0; j < 4; ++j) rest.w[i][n][j] = weights(n, 4 * (q + i) + j);
    rest.take(0, count, paired, made);
    main(q, count, made);
    for (int i = 0; i < count; ++i) {
      while (rest.any(i)) {
        rest.take(i, 1, false, made);
        extra(q + i, made);
      }
    }
  }
}

template <class T> inline void int8_quads_plan(const walle_call* call) {
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const QuadWeights<T> weights = QuadWeights<T>::make(call, unit);
    int64_t extra[2] = {0, 0};
    for (int paired = 0; paired < (kQuadLimit ? 2 : 1); ++paired)
      quad_split(weights, paired, [](int64_t, int, const uint32_t*) {}, [&](int64_t, const uint32_t*) { ++extra[paired]; });
    // Of the time of two quads, a shared sum saves a fifth.
    const bool paired = kQuadLimit && 5 * extra[1] < 5 * extra[0] + weights.quads();
    int32_t* dst = static_cast<int32_t*>(call->buf[0]) + 2 * unit;
    dst[0] = int32_t(extra[paired]), dst[1] = paired;
  }
}

template <class T> inline void int8_quads_pack(const walle_call* call) {
  const int32_t* plan = static_cast<const int32_t*>(call->buf[2]);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const QuadWeights<T> weights = QuadWeights<T>::make(call, unit);
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + unit * weights.quads() * kNr;
    const int64_t at = static_cast<const int32_t*>(call->buf[3])[unit];
    uint32_t* extra = static_cast<uint32_t*>(call->buf[4]) + at * kNr;
    int32_t* from = static_cast<int32_t*>(call->buf[5]) + at;
    quad_split(
        weights, plan[2 * unit + 1] != 0,
        [&](int64_t q, int count, const uint32_t* made) { std::memcpy(out + q * kNr, made, size_t(count) * kNr * 4); },
        [&](int64_t q, const uint32_t* made) {
          std::memcpy(extra, made, kNr * 4);
          *from++ = int32_t(q), extra += kNr;
        });
    for (int64_t n = 0; n < kNr; ++n) {
      uint32_t sum = 0;
      for (int64_t k = 0; k < weights.depth; ++k) sum += uint32_t(weights(n, k));
      const int32_t bias = static_cast<const int32_t*>(call->buf[7])[unit * kNr + n];
      static_cast<int32_t*>(call->buf[6])[unit * kNr + n] = int32_t(uint32_t(bias) - uint32_t(call->arg[8]) * sum);
    }
  }
}

template <class T> inline void int8_pairs_pack(const walle_call* call) {
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const QuadWeights<T> weights = QuadWeights<T>::make(call, unit);
    const int64_t pairs = (weights.depth + 1) / 2;
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + unit * pairs * kNr;
    for (int64_t i = 0; i < pairs; ++i)
      for (int64_t n = 0; n < kNr; ++n)
        out[i * kNr + n] = uint32_t(weights(n, 2 * i + 1)) << 16 | (uint32_t(weights(n, 2 * i)) & 0xffffu);
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
