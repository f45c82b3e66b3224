// What the 8-bit integer kernels share: bytes as integers, and how results become bytes.
//
// Activations are uint8 or int8 with one zero point; sums are exact in int32. A result of a product is
//   clamp(round(float(sum) * scale[channel]) + zero, low, high),  round half to even,
// where scale holds the scale of the result already; without products it is
//   clamp(round(value / y_scale), low - zero, high - zero) + zero,
// the arithmetic of QuantizeLinear in float32.
#ifndef WALLE_KERNELS_INT8_TILE_HPP
#define WALLE_KERNELS_INT8_TILE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/gemm_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kPair = 2 * I32::N;  // bytes of one vector of pairs

// N bytes as int32; n: only the first n exist.
template <bool kSigned> WALLE_INLINE I32 load8(const uint8_t* p) { return kSigned ? load_i8(p) : load_u8(p); }
template <bool kSigned> WALLE_INLINE I32 load8(const uint8_t* p, size_t n) {
  uint8_t bytes[I32::N] = {};
  std::memcpy(bytes, p, n);
  return load8<kSigned>(bytes);
}
inline void store_low8(I32 a, uint8_t* p, size_t n) {
  if (n == size_t(I32::N)) return store_low8(a, p);
  uint8_t bytes[I32::N];
  store_low8(a, bytes);
  std::memcpy(p, bytes, n);
}
template <bool kSigned> WALLE_INLINE I32 load_pairs(const uint8_t* p) {
  return kSigned ? load_pairs_i8(p) : load_pairs_u8(p);
}
WALLE_INLINE I32 set_pairs(int32_t x) { return I32::set(int32_t((uint32_t(x) << 16) | (uint32_t(x) & 0xffffu))); }

// arg: f(y_scale), y_zero, low, high.
struct Requantise {
  F32 y_scale, inverse, lo, hi;
  I32 zero;

  static Requantise make(const int64_t* arg) {
    Requantise q;
    const float scale = float(walle_f64(arg[0]));
    q.y_scale = F32::set(scale), q.inverse = F32::set(1.0f / scale);
    q.lo = F32::set(float(arg[2] - arg[1])), q.hi = F32::set(float(arg[3] - arg[1]));
    q.zero = I32::set(int32_t(arg[1]));
    return q;
  }
  // x / y_scale. With a fused multiply-add the product by the reciprocal is corrected by its remainder, which rounds
  // as the quotient does.
  WALLE_INLINE F32 quotient(F32 x) const {
    if (F32::N == 1) return div(x, y_scale);
    const F32 q = mul(x, inverse);
    return fma(fnma(q, y_scale, x), inverse, q);
  }
  WALLE_INLINE I32 operator()(F32 x) const { return add(to_int(min(hi, max(lo, quotient(x)))), zero); }
};

// arg: y_zero, low, high. Bytes are made signed; `flip` brings back the unsigned ones.
inline Narrow narrow_make(const int64_t* arg) {
  const int32_t centre = arg[1] < 0 ? 0 : 128;
  return Narrow::make(int32_t(arg[0]) - centre, int32_t(arg[1]) - centre, int32_t(arg[2]) - centre, centre);
}

enum IntStep { kPairs, kQuads, kTwoQuads };  // what a step of a product multiplies: see int8_quads.hpp

// Tiles of a product, one below the other: c[r][n] = narrow((bias[n] + sum over k of rows[r][k] * b[k][n]) * scale[n]).
struct IntTiles {
  const uint8_t* const* rows;
  int64_t steps;         // of four bytes of a row: pairs or quads
  const int32_t* b;      // [steps][kNr]
  const int32_t* extra;  // [extras][kNr]
  const int32_t* from;   // [extras]
  int64_t extras;
  IntStep step;
  uint8_t* c;
  int64_t ldc;
  const int32_t* bias;   // [kNr]
  const float* scale;    // [kNr]
  int64_t cols;          // 1..kNr
  const char* ahead;     // what the next tiles read from far away, or null ...
  int64_t lines;         // ... and how many cache lines of it a tile fetches
};

WALLE_INLINE I32 four_bytes(const uint8_t* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return I32::set(x);
}

// acc[r][v] += rows[r] * b, over all steps.
template <int R, int V> WALLE_INLINE void int_sums(const IntTiles& t, const uint8_t* const* rows, I32 (&acc)[R][V]) {
  const uint8_t* p[R];
  for (int r = 0; r < R; ++r) p[r] = rows[r];
  const int32_t* b = t.b;
  const int64_t steps = t.steps;
  int64_t k = 0;
  const auto one = [&](int64_t at, const int32_t* w, auto dot) __attribute__((always_inline)) {
    I32 bv[V];
    for (int v = 0; v < V; ++v) bv[v] = I32::load(w + v * I32::N);
    for (int r = 0; r < R; ++r) {
      const I32 a = four_bytes(p[r] + 4 * at);
      for (int v = 0; v < V; ++v) acc[r][v] = dot(a, bv[v], acc[r][v]);
    }
  };
  const auto quad = [](I32 a, I32 w, I32 c) __attribute__((always_inline)) { return dot_quads(a, w, c); };
  if (t.step == kPairs) {
    const auto pair = [](I32 a, I32 w, I32 c) __attribute__((always_inline)) { return dot_pairs(a, w, c); };
    for (; k < steps; ++k, b += kNr) one(k, b, pair);
    return;
  }
#ifdef WALLE_BY_LANE
  const auto lane = [](auto at, int, I32 a, I32 w, I32 c) __attribute__((always_inline)) {
    return dot_quads_lane<decltype(at)::value>(a, w, c);
  };
  by_lanes<I32>(acc, p, b, steps / I32::N, t.ahead, 0, lane);
  k = steps / I32::N * I32::N;
  for (int r = 0; r < R; ++r) p[r] = rows[r];
#endif
  if (kQuadLimit && t.step == kTwoQuads) {
    for (; k + 2 <= steps; k += 2, b += 2 * kNr) {
      I32 even[V], odd[V];
      for (int v = 0; v < V; ++v) even[v] = I32::load(b + v * I32::N), odd[v] = I32::load(b + kNr + v * I32::N);
      for (int r = 0; r < R; ++r) {
        const I32 a = four_bytes(p[r] + 4 * k), next = four_bytes(p[r] + 4 * k + 4);
        for (int v = 0; v < V; ++v) acc[r][v] = dot_quads(a, even[v], next, odd[v], acc[r][v]);
      }
    }
  }
  for (; k < steps; ++k, b += kNr) one(k, b, quad);
  const int32_t* extra = t.extra;
  for (int64_t e = 0; e < t.extras; ++e, extra += kNr) one(t.from[e], extra, quad);
}

template <int R, int V> __attribute__((noinline)) void int_tiles(const IntTiles& t, int64_t count, const Narrow& narrow) {
  constexpr int kStored = (V + 1) / 2 * 2;  // vectors are stored in twos
  const Narrow n = narrow;
  const bool whole = V == kStored && t.cols == V * I32::N;
  const uint8_t* const* rows = t.rows;
  uint8_t* c = t.c;
  const char* ahead = t.ahead;
  for (; count > 0; --count, rows += R) {
    if (ahead)
      for (int64_t i = 0; i < t.lines; ++i, ahead += 64) prefetch_far(ahead);
    I32 acc[R][V];
    for (int v = 0; v < V; ++v)
      for (int r = 0; r < R; ++r) acc[r][v] = I32::load(t.bias + v * I32::N);
    int_sums<R, V>(t, rows, acc);
    int r = 0;
    if (V == 2 && whole) {
      const F32 scale = F32::load(t.scale), other = F32::load(t.scale + F32::N);
      for (; r + 2 <= R; r += 2, c += 2 * t.ldc) {
        const auto at = [&](int i, int v) __attribute__((always_inline)) {
          return mul(to_float(acc[r + i < R ? r + i : r][v < V ? v : 0]), v ? other : scale);
        };
        store_narrow(at(0, 0), at(0, 1), at(1, 0), at(1, 1), n, c, c + t.ldc);
      }
    }
    for (; r < R; ++r, c += t.ldc) {
      uint8_t bytes[kStored * I32::N], *to = whole ? c : bytes;
      for (int v = 0; v < V; v += 2) {
        const int w = v + 1 < V ? v + 1 : v;
        store_narrow(mul(to_float(acc[r][v]), F32::load(t.scale + v * F32::N)),
                     mul(to_float(acc[r][w]), F32::load(t.scale + w * F32::N)), n, to + v * I32::N);
      }
      if (V == 1 && t.cols == I32::N) std::memcpy(c, bytes, I32::N);
      else if (!whole) std::memcpy(c, bytes, size_t(t.cols));
    }
  }
}

typedef void (*int_tiles_fn)(const IntTiles&, int64_t, const Narrow&);

inline int_tiles_fn int_tiles_select(int64_t height, int64_t cols) {
#define WALLE_TILE_ROW(R) {int_tiles<(R < kIntMr ? R : kIntMr), kNv / 2>, int_tiles<(R < kIntMr ? R : kIntMr), kNv>}
  static const int_tiles_fn table[10][2] = {
      WALLE_TILE_ROW(1), WALLE_TILE_ROW(2), WALLE_TILE_ROW(3), WALLE_TILE_ROW(4), WALLE_TILE_ROW(5),
      WALLE_TILE_ROW(6), WALLE_TILE_ROW(7), WALLE_TILE_ROW(8), WALLE_TILE_ROW(9), WALLE_TILE_ROW(10)};
#undef WALLE_TILE_ROW
  return table[height - 1][cols > kNr / 2];
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
