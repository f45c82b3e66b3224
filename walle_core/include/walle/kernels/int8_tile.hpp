// What the 8-bit integer kernels share: requantisation, and the register tile of an integer product.
//
// Activations are uint8 or int8 with one zero point; sums are exact in int32. A result is
//   clamp(round(float(sum) * scale[channel] / y_scale), low - zero, high - zero) + zero,  round half to even,
// the arithmetic of DequantizeLinear, an operator and QuantizeLinear in float32.
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

// One tile of a product: c[r][n] = requantise((bias[n] + sum over pairs of a[r] * b[n]) * scale[n]).
struct IntTile {
  const int32_t* a;      // rows of pairs
  int64_t stride;        // pairs from row to row
  int64_t pairs;
  const int32_t* b;      // [pairs][kNr] pairs
  uint8_t* c;
  int64_t ldc;
  const int32_t* bias;   // [kNr]
  const float* scale;    // [kNr]
  int64_t cols;          // 1..kNr
};

// Requantises a spilled tile.
__attribute__((noinline)) inline void int8_finish(const IntTile& t, const int32_t* sums, int height, int vectors,
                                                  const Requantise& requantise) {
  const Requantise q = requantise;
  const auto at = [&](int64_t i, F32 scale) __attribute__((always_inline)) {
    return q(mul(to_float(I32::load(sums + i * I32::N)), scale));
  };
  int v = 0;
  for (; v + 2 <= vectors && t.cols - v * I32::N >= kPair; v += 2) {
    const F32 scale = F32::load(t.scale + v * F32::N), next = F32::load(t.scale + (v + 1) * F32::N);
    uint8_t* c = t.c + v * I32::N;
    for (int r = 0; r < height; ++r, c += t.ldc) store_low8(at(r * vectors + v, scale), at(r * vectors + v + 1, next), c);
  }
  for (; v < vectors && t.cols > v * I32::N; ++v) {
    const F32 scale = F32::load(t.scale + v * F32::N);
    const int64_t left = t.cols - v * I32::N < I32::N ? t.cols - v * I32::N : I32::N;
    uint8_t* c = t.c + v * I32::N;
    for (int r = 0; r < height; ++r, c += t.ldc) store_low8(at(r * vectors + v, scale), c, size_t(left));
  }
}

template <int R, int V>
__attribute__((noinline)) void int8_tile(const IntTile& t, const Requantise& requantise) {
  I32 acc[R][V];
  for (int v = 0; v < V; ++v) {
    const I32 init = I32::load(t.bias + v * I32::N);
    for (int r = 0; r < R; ++r) acc[r][v] = init;
  }
  const int32_t* p[R];
  for (int r = 0; r < R; ++r) p[r] = t.a + r * t.stride;
  const int32_t* b = t.b;
  const int64_t pairs = t.pairs;
  for (int64_t k = 0; k < pairs; ++k) {
    I32 bv[V];
    for (int v = 0; v < V; ++v) bv[v] = I32::load(b + k * kNr + v * I32::N);
    for (int r = 0; r < R; ++r) {
      const I32 a = I32::set(p[r][k]);
      for (int v = 0; v < V; ++v) acc[r][v] = dot_pairs(a, bv[v], acc[r][v]);
    }
  }
  alignas(64) int32_t sums[R * V * I32::N];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v].store(sums + (r * V + v) * I32::N);
  int8_finish(t, sums, R, V, requantise);
}

typedef void (*int8_tile_fn)(const IntTile&, const Requantise&);

inline int8_tile_fn int8_tile_select(int height, int64_t cols) {
#define WALLE_TILE_ROW(R) {int8_tile<(R < kMr ? R : kMr), kNv / 2>, int8_tile<(R < kMr ? R : kMr), kNv>}
  static const int8_tile_fn table[12][2] = {
      WALLE_TILE_ROW(1), WALLE_TILE_ROW(2), WALLE_TILE_ROW(3), WALLE_TILE_ROW(4),  WALLE_TILE_ROW(5),  WALLE_TILE_ROW(6),
      WALLE_TILE_ROW(7), WALLE_TILE_ROW(8), WALLE_TILE_ROW(9), WALLE_TILE_ROW(10), WALLE_TILE_ROW(11), WALLE_TILE_ROW(12)};
#undef WALLE_TILE_ROW
  return table[height - 1][cols > kNr / 2];
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
