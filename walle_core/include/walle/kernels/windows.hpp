// Products of narrow numbers: convolution, channels last, and matrix product whose operands travel in 32-bit words of
// several neighbouring k (four bytes, two bfloat16), as the dot products of processors take them. A unit copies the pixels
// that its rows read to scratch as such words; then a word of A is broadcast and meets a vector of words of B.
//
// A Kind says what a word is:
//   In, Sum, Number   what is copied; a vector of sums (I32, F32); one of them
//   kBytes            bytes of one number in a word: 1 or 2
//   copy(from, n, to), blank(n, to)   write n numbers of the image, or of its padding; may write up to 64 bytes beyond
//   panel(column, cols, index), tile(m)  where the sums belong: columns of dst, which panel of all, rows from m
//   sums<R, V>        the sums of a tile, by window_tile<Kind, R, V> or by its own way
//   init(v), dot(a, b, sum), finish(sums)   what window_tile needs; where the ISA multiplies by lane, dot_lane<L> too
//
// arg of every window product: 0 rows (N*OH*OW), 1 O per group, 2 block_tiles, 3 group_panels, 4 columns_first (see Cut),
//     5 groups, 6 C per group, 7 ldx, 8 ldc, 9 scratch (words per thread), 10 H, 11 W, 12 OH, 13 OW, 14 KH, 15 KW,
//     16 stride_h, 17 stride_w, 18 pad_top, 19 pad_left, 20 dilation_h, 21 dilation_w; the kind's own from 22.
// buf: dst [N,OH,OW,ldc], x [N,H,W,ldx], packed weights, two of the kind's own, scratch.
// Scratch: block_tiles * kMr * (round16(words) + 16) words, words = ceil(KH*KW*C / numbers in a word). Rows are below 2^32.
// Units: groups * ceil(ceil(rows/kMr) / block_tiles) * ceil(ceil(O/kNr) / group_panels).
#ifndef WALLE_KERNELS_WINDOWS_HPP
#define WALLE_KERNELS_WINDOWS_HPP
#include "walle/kernels/gemm_block.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kWindowArgs = 22;

// Copies the pixels of output rows.
template <class Kind> struct Windows {
  typedef typename Kind::In In;
  const Kind& kind;
  const In* x;  // first channel of the group
  int64_t C, ldx, H, W, OH, OW, KH, KW, sh, sw, pt, pl, dh, dw;

  static bool inside(int64_t i, int64_t size) { return uint64_t(i) < uint64_t(size); }
  int64_t words() const { return (KH * KW * C * Kind::kBytes + 3) / 4; }

  // Output pixels first..last-1, all taps in the order of the packed weights, `step` bytes from pixel to pixel.
  void rows(int64_t first, int64_t last, unsigned char* to, int64_t step) const {
    const bool plain = KH * KW == 1 && sh == 1 && sw == 1 && H == OH && W == OW;
    const int64_t used = KH * KW * C * Kind::kBytes, rest = words() * 4 - used;
    const uint32_t line = uint32_t(first) / uint32_t(OW);
    int64_t ox = uint32_t(first) % uint32_t(OW), oy = line % uint32_t(OH), n = line / uint32_t(OH);
    for (int64_t m = first; m < last; ++m, to += step) {
      if (plain) kind.copy(x + m * ldx, C, to);
      else pixel(n, oy * sh - pt, ox * sw - pl, to);
      std::memset(to + used, 0, size_t(rest));  // no NaN may meet the zeros of the weights
      if (++ox == OW) {
        ox = 0;
        if (++oy == OH) oy = 0, ++n;
      }
    }
  }
  void pixel(int64_t n, int64_t iy, int64_t ix, unsigned char* to) const {
    const bool joined = dw == 1 && C == ldx && ix >= 0 && ix + KW <= W;  // a kernel row is one run
    const int64_t tap = C * Kind::kBytes;
    for (int64_t kh = 0; kh < KH; ++kh) {
      const int64_t y = iy + kh * dh;
      const In* at = x + ((n * H + y) * W + ix) * ldx;
      if (!inside(y, H) || joined) {
        if (joined && inside(y, H)) kind.copy(at, KW * C, to);
        else kind.blank(KW * C, to);
        to += KW * tap;
      } else {
        for (int64_t kw = 0; kw < KW; ++kw, to += tap) {
          if (inside(ix + kw * dw, W)) kind.copy(at + kw * dw * ldx, C, to);
          else kind.blank(C, to);
        }
      }
    }
  }
};

template <class Kind, int R, int V>
__attribute__((noinline)) void window_tile(const Kind& kind, const int32_t* a, int64_t stride, int64_t words, const int32_t* b) {
  typename Kind::Sum acc[R][V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
    const typename Kind::Sum init = kind.init(v);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) acc[r][v] = init;
  }
  const int32_t* p[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) p[r] = a + r * stride;
#ifdef WALLE_BY_LANE
  const auto lane = [](auto at, int, I32 w, I32 x, typename Kind::Sum sum) __attribute__((always_inline)) {
    return Kind::template dot_lane<decltype(at)::value>(w, x, sum);
  };
  by_lanes<I32>(acc, p, b, words / I32::N, reinterpret_cast<const char*>(b), 0, lane);
  words %= I32::N;
#endif
  for (int64_t k = 0; k < words; ++k) {
    I32 bv[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) bv[v] = I32::load(b + k * kNr + v * I32::N);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const I32 word = I32::set(p[r][k]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] = Kind::dot(word, bv[v], acc[r][v]);
    }
  }
  alignas(64) typename Kind::Number sums[R * V * I32::N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) acc[r][v].store(sums + (r * V + v) * I32::N);
  kind.finish(sums, R, V);
}

template <class Kind> using window_fn = void (*)(const Kind&, const int32_t*, int64_t, int64_t, const int32_t*);

template <class Kind> inline window_fn<Kind> window_select(int height, int64_t cols) {
#define WALLE_TILE_ROW(R) {Kind::template sums<(R < kMr ? R : kMr), kNv / 2>, Kind::template sums<(R < kMr ? R : kMr), kNv>}
  static const window_fn<Kind> table[12][2] = {
      WALLE_TILE_ROW(1), WALLE_TILE_ROW(2), WALLE_TILE_ROW(3), WALLE_TILE_ROW(4),  WALLE_TILE_ROW(5),  WALLE_TILE_ROW(6),
      WALLE_TILE_ROW(7), WALLE_TILE_ROW(8), WALLE_TILE_ROW(9), WALLE_TILE_ROW(10), WALLE_TILE_ROW(11), WALLE_TILE_ROW(12)};
#undef WALLE_TILE_ROW
  return table[height - 1][cols > kNr / 2];
}

template <class Kind> inline void window_product(const walle_call* call, Kind& kind) {
  const int64_t* arg = call->arg;
  const Cut cut = Cut::make(arg);
  const typename Kind::In* x = static_cast<const typename Kind::In*>(call->buf[1]);
  int32_t* const stage = static_cast<int32_t*>(call->buf[5]) + call->thread * arg[9];
  Windows<Kind> at{kind, x, arg[6], arg[7], arg[10], arg[11], arg[12], arg[13], arg[14], arg[15], arg[16], arg[17], arg[18],
                   arg[19], arg[20], arg[21]};
  const int64_t O = arg[1], per_group = cut.units(), words = at.words(), stride = stage_stride(words);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t g = unit / per_group, part = unit % per_group;
    const int64_t block = cut.columns_first ? part % cut.blocks() : part / cut.groups();
    const int64_t group = cut.columns_first ? part / cut.blocks() : part % cut.groups();
    const int64_t tile0 = block * cut.block_tiles, panel0 = group * cut.group_panels;
    const int64_t tile1 = tile0 + cut.block_tiles < cut.tiles ? tile0 + cut.block_tiles : cut.tiles;
    const int64_t panel1 = panel0 + cut.group_panels < cut.panels ? panel0 + cut.group_panels : cut.panels;
    const int64_t first = cut.row(tile0), last = cut.row(tile1);
    at.x = x + g * at.C;
    at.rows(first, last, reinterpret_cast<unsigned char*>(stage), 4 * stride);
    for (int64_t panel = panel0; panel < panel1; ++panel) {
      const int64_t n = panel * kNr, cols = O - n < kNr ? O - n : kNr, index = g * cut.panels + panel;
      const int32_t* b = static_cast<const int32_t*>(call->buf[2]) + index * words * kNr;
      kind.panel(g * O + n, cols, index);
      int64_t m = first;
      for (int64_t tile = tile0; tile < tile1; ++tile) {
        const int height = int(cut.height(tile));
        kind.tile(m);
        window_select<Kind>(height, cols)(kind, stage + (m - first) * stride, stride, words, b);
        m += height;
      }
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
