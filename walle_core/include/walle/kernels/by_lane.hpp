// Sums of a register tile where the ISA multiplies a vector by one lane of another (WALLE_BY_LANE): a row is read a vector
// of words at a time, so that an inner loop is little but products. Words are floats, pairs of bfloat16 or quads of bytes.
//
// The vector header of such an ISA offers, for W in {float, int32_t, uint8_t} and X in {F32, I32}:
//   take(const W*& p, X& x)        one vector from p, which moves on
//   take(const W*& p, X (&x)[V])   V vectors of a panel, which has kNr words; p moves on by those
//   pin(F32), pin(I32)             in a register of its own from here on
//   madd_lane<L>(a, b, c), dot_quads_lane<L>(a, b, c), dot_bf16_lane<L>(a, b, c)   as without _lane, of lane L of a
#ifndef WALLE_KERNELS_BY_LANE_HPP
#define WALLE_KERNELS_BY_LANE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#ifdef WALLE_BY_LANE

namespace walle { namespace WALLE_ISA { namespace {

template <int I> struct Lane { static constexpr int value = I; };

// acc[r][v] += over `count` times N words: dot(Lane, v, words of row r, vector v of the panel, sum). p and b move on. Few sums
// cannot hide the latency of a product, so short tiles keep U sets of them.
template <class X, int R, int V, class Sum, class A, class B, class Dot>
inline __attribute__((always_inline)) void by_lanes(Sum (&acc)[R][V], const A* (&p)[R], const B*& b, int64_t count,
                                                    const char* ahead, int64_t ahead_step, Dot dot) {
  static_assert(X::N == 4, "lanes are written out");
  constexpr int U = R * V >= 8 ? 1 : R * V >= 4 ? 2 : 4;
  const A* row[R];  // copies: p and acc may live in memory
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) row[r] = p[r];
  Sum sums[U][R][V];
#pragma GCC unroll 16
  for (int u = 0; u < U; ++u)
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sums[u][r][v] = pin(u ? Sum::set(0) : acc[r][v]);
  const auto words = [&]() __attribute__((always_inline)) {
    X a[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) take(row[r], a[r]);
    const auto lane = [&](auto at) __attribute__((always_inline)) {
      constexpr int L = decltype(at)::value;
      X x[V];
      take(b, x);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) sums[L % U][r][v] = dot(at, v, a[r], x[v], sums[L % U][r][v]);
    };
    lane(Lane<0>{}), lane(Lane<1>{}), lane(Lane<2>{}), lane(Lane<3>{});
  };
  for (int64_t twice = count / 2; twice > 0; --twice) {
    prefetch_far(ahead);
    ahead += 2 * X::N * ahead_step;
    words();
    words();
  }
  if (count & 1) words();
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) p[r] = row[r];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      acc[r][v] = sums[0][r][v];
#pragma GCC unroll 4
      for (int u = 1; u < U; ++u) acc[r][v] = add(acc[r][v], sums[u][r][v]);
    }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
#endif
