// The register tile that gemm, conv and winograd share: R rows times V vectors of a product, kept in registers.
//
//   c[r][n] = act(init[n] + sum over taps t, k < run of rows[t*kMr + r][k] * b[(t*run + k)*kNr + n] + residual[r][n])
//
// A operands are read by broadcast through one pointer per row and tap, so that a row may be a matrix row, a pixel of
// an image or a zero row; nothing is copied first. B is packed in panels of kNr columns, [K][kNr], zero padded.
//
// Tile shape, of the vector header: R*V accumulators + V vectors of B + one broadcast (by lane: R vectors of A) must fit the
// vector registers, R row pointers + B pointer + counter the general ones: 12 x 2 with 32 registers, 6 x 2 with 16,
// 5 x 4 with 32 by lane.
#ifndef WALLE_KERNELS_GEMM_TILE_HPP
#define WALLE_KERNELS_GEMM_TILE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/activation.hpp"
#include "walle/kernels/by_lane.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kNr = kNv * F32::N;  // columns per panel
static_assert(kMr <= 12 && kIntMr <= 10, "the tables of tiles are that long");

#define WALLE_INLINE inline __attribute__((always_inline))

// a*b + c for sums: fused where that is one instruction, else two roundings (a fused emulation would cost 50 times).
WALLE_INLINE F32 madd(F32 a, F32 b, F32 c) { return F32::N == 1 ? add(mul(a, b), c) : fma(a, b, c); }

// One panel of B against some row tiles of one height, which lie below each other.
struct Tile {
  const float* const* rows;  // [tiles][taps][kMr]
  int64_t taps, run;
  const float* b;
  float* c;
  int64_t ldc;
  const float* bias;         // [cols] or null; ignored when `accumulate`
  const float* residual;     // or null; read only when `last`
  int64_t ldr;
  int64_t cols;              // 1..kNr
  const char* ahead;         // what will be read after this panel
  int64_t ahead_step;        // bytes of it to fetch per step of the depth
  bool accumulate;           // add to c
  bool last;                 // add the residual and apply the activation
};

// Writes a spilled tile: any width, any activation, any piece of the depth. The activation sees all vectors at once.
__attribute__((noinline)) inline void tile_finish(const Tile& t, F32* acc, int height, int vectors,
                                                  const Activation& act, bool accumulate) {
  const auto each = [&](auto change) {
    for (int r = 0; r < height; ++r) {
      for (int v = 0; v < vectors; ++v) {
        const int64_t left = t.cols - v * F32::N;
        if (left <= 0) break;
        change(acc[r * vectors + v], r, v * F32::N, size_t(left < F32::N ? left : F32::N));
      }
    }
  };
  if (accumulate) each([&](F32& x, int r, int n, size_t some) { x = add(x, F32::load(t.c + r * t.ldc + n, some)); });
  if (t.last) {
    if (t.residual)
      each([&](F32& x, int r, int n, size_t some) { x = add(x, F32::load(t.residual + r * t.ldr + n, some)); });
    act.all(acc, height * vectors);
  }
  each([&](F32& x, int r, int n, size_t some) {
    if (some == F32::N) x.store(t.c + r * t.ldc + n);
    else x.store(t.c + r * t.ldc + n, some);
  });
}

// One tap. Few accumulators cannot hide the latency of a multiply-add, so short tiles keep U sets of them.
template <int R, int V>
WALLE_INLINE void tile_sum(F32 (&acc)[R][V], const float* const* rows, const float* b, int64_t run,
                           const char* ahead, int64_t ahead_step) {
  constexpr int U = R * V >= 8 ? 1 : R * V >= 4 ? 2 : 4;
  const float* p[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) p[r] = rows[r];
  int64_t k = 0;
#ifdef WALLE_BY_LANE
  const auto lane = [](auto at, int, F32 a, F32 x, F32 sum) __attribute__((always_inline)) {
    return madd_lane<decltype(at)::value>(a, x, sum);
  };
  by_lanes<F32>(acc, p, b, run / F32::N, ahead, ahead_step, lane);
  ahead += run / F32::N * F32::N * ahead_step;
  run %= F32::N;
#endif
  if (U > 1 && run >= 2 * U) {  // never, where that was by lanes
    F32 more[U][R][V];
#pragma GCC unroll 16
    for (int u = 1; u < U; ++u)
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) more[u][r][v] = F32::set(0.0f);
    for (; k + U <= run; k += U, ahead += U * ahead_step) {
      prefetch_far(ahead);
#pragma GCC unroll 16
      for (int u = 0; u < U; ++u) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const F32 a = F32::set(p[r][k + u]);
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) {
            F32& sum = u ? more[u][r][v] : acc[r][v];
            sum = madd(a, F32::load(b + (k + u) * kNr + v * F32::N), sum);
          }
        }
      }
    }
#pragma GCC unroll 16
    for (int u = 1; u < U; ++u)
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] = add(acc[r][v], more[u][r][v]);
  }
#pragma GCC unroll 2
  for (; k < run; ++k, ahead += ahead_step) {
    prefetch_far(ahead);
    F32 bv[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) bv[v] = F32::load(b + k * kNr + v * F32::N);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const F32 a = F32::set(p[r][k]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] = madd(a, bv[v], acc[r][v]);
    }
  }
}

template <int R, int V, class Change>
WALLE_INLINE void tile_store(const F32 (&acc)[R][V], const Tile& t, Change change) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) change(acc[r][v]).store(t.c + r * t.ldc + v * F32::N);
}

template <int R, int V>
__attribute__((noinline)) void tile_kernel(Tile t, int64_t tiles, const Activation& act) {
  const bool full = t.cols >= V * F32::N, plain = full && (!t.last || act.is_clamp());
  const int64_t code = t.last ? act.code : int64_t(kActNone);
  F32 init[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
    const int64_t left = t.cols - v * F32::N;
    init[v] = t.bias && !t.accumulate ? F32::load(t.bias + v * F32::N, size_t(left <= 0 ? 0 : left < F32::N ? left : F32::N))
                                      : F32::set(0.0f);
  }
  for (; tiles; --tiles) {
    F32 acc[R][V];
    if (t.accumulate && full) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] = F32::load(t.c + r * t.ldc + v * F32::N);
    } else {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] = init[v];
      // The result's lines arrive while the sums are made, so that the stores at the end do not wait for them.
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) prefetch(t.c + (r + R) * t.ldc), prefetch(t.c + (r + R) * t.ldc + V * F32::N - 1);
    }
    const float* b = t.b;
    for (int64_t tap = 0; tap < t.taps; ++tap, t.rows += kMr, b += t.run * kNr, t.ahead += t.run * t.ahead_step)
      tile_sum<R, V>(acc, t.rows, b, t.run, t.ahead, t.ahead_step);
    if (plain) {
      if (t.residual && t.last) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) acc[r][v] = add(acc[r][v], F32::load(t.residual + r * t.ldr + v * F32::N));
      }
      const F32 lo = act.lo, hi = act.hi;
      switch (code) {
        case kActNone: tile_store<R, V>(acc, t, [](F32 x) { return x; }); break;
        case kActRelu: tile_store<R, V>(acc, t, [lo](F32 x) { return max(lo, x); }); break;
        default: tile_store<R, V>(acc, t, [lo, hi](F32 x) { return min(hi, max(lo, x)); });
      }
    } else {
      F32 spilled[R * V];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) spilled[r * V + v] = acc[r][v];
      tile_finish(t, spilled, R, V, act, t.accumulate && !full);
    }
    t.c += R * t.ldc;
    if (t.residual) t.residual += R * t.ldr;
  }
}

typedef void (*tile_fn)(Tile, int64_t tiles, const Activation&);

// The kernel for a tile of `height` rows (1..kMr) and `cols` columns: a half-empty panel takes half the vectors.
inline tile_fn tile_select(int height, int64_t cols) {
#define WALLE_TILE_ROW(R) {tile_kernel<(R < kMr ? R : kMr), kNv / 2>, tile_kernel<(R < kMr ? R : kMr), kNv>}
  static const tile_fn table[12][2] = {WALLE_TILE_ROW(1), WALLE_TILE_ROW(2),  WALLE_TILE_ROW(3),  WALLE_TILE_ROW(4),
                                       WALLE_TILE_ROW(5), WALLE_TILE_ROW(6),  WALLE_TILE_ROW(7),  WALLE_TILE_ROW(8),
                                       WALLE_TILE_ROW(9), WALLE_TILE_ROW(10), WALLE_TILE_ROW(11), WALLE_TILE_ROW(12)};
#undef WALLE_TILE_ROW
  return table[height - 1][cols > kNr / 2];
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
