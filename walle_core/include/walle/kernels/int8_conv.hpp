// Convolution and matrix product of 8-bit integers, channels last. Rows are output pixels; a unit widens the pixels that
// its rows read to int16 less the zero point, in scratch, so that padding is zero and sums need no correction.
//
// int8/pack:  dtype of w. buf dst, w. arg groups, O (per group), C (per group), taps, strides of w in o, c and tap, w_zero.
//             dst[group][panel][pair][kNr]: int16 pairs of neighbouring k = tap*C + c, zero where o >= O or k >= C*taps.
//             Units: groups * ceil(O / kNr).
//
// int8/conv:  dtype of x. buf dst [N,OH,OW,ldc], x [N,H,W,ldx], w_packed, bias (int32), scale (float32), scratch.
//             bias and scale: [groups][panels * kNr].
//             arg 0 rows (N*OH*OW), 1 O per group, 2 block_tiles, 3 group_panels, 4 columns_first (see Cut), 5 groups,
//                 6 C per group, 7 ldx, 8 ldc, 9 scratch (int32 per thread), 10 x_zero, 11..14 Requantise,
//                 15 H, 16 W, 17 OH, 18 OW, 19 KH, 20 KW, 21 stride_h, 22 stride_w, 23 pad_top, 24 pad_left,
//                 25 dilation_h, 26 dilation_w, 27 elements of x.
//             Scratch: block_tiles * kMr * (round16(pairs) + 16) int32. Rows are below 2^32.
//             Units: groups * ceil(ceil(rows/kMr) / block_tiles) * ceil(ceil(O/kNr) / group_panels).
#ifndef WALLE_KERNELS_INT8_CONV_HPP
#define WALLE_KERNELS_INT8_CONV_HPP
#include "walle/kernels/gemm_block.hpp"
#include "walle/kernels/int8_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> inline void int8_pack(const walle_call* call) {
  const int64_t O = call->arg[1], C = call->arg[2], taps = call->arg[3];
  const int64_t so = call->arg[4], sc = call->arg[5], st = call->arg[6], depth = C * taps;
  const int32_t zero = int32_t(call->arg[7]);
  const int64_t panels = (O + kNr - 1) / kNr, pairs = (depth + 1) / 2;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n0 = unit % panels * kNr;
    const T* w = static_cast<const T*>(call->buf[1]) + (unit / panels * O + n0) * so;
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + unit * pairs * kNr;
    const auto at = [&](int64_t n, int64_t k) {
      return n0 + n < O && k < depth ? uint32_t(int32_t(w[n * so + k % C * sc + k / C * st]) - zero) : 0u;
    };
    for (int64_t i = 0; i < pairs; ++i)
      for (int64_t n = 0; n < kNr; ++n) out[i * kNr + n] = at(n, 2 * i + 1) << 16 | (at(n, 2 * i) & 0xffffu);
  }
}

// Reads the pixels of output rows.
template <bool kSigned> struct ByteRows {
  const uint8_t* x;    // first channel of the group
  const uint8_t* end;  // of all of x
  I32 zero;
  int64_t C, ldx, H, W, OH, OW, KH, KW, sh, sw, pt, pl, dh, dw;

  // n bytes to int16 at `to`. Where x goes on, a last whole vector is written: up to kPair - 1 int16 beyond n.
  void widen(const uint8_t* from, int64_t n, unsigned char* to) const {
    int64_t i = 0;
    for (; i + kPair <= n; i += kPair) store(from + i, to + 2 * i);
    if (i == n) return;
    if (end - from >= i + kPair) return store(from + i, to + 2 * i);
    uint8_t rest[kPair] = {};
    std::memcpy(rest, from + i, size_t(n - i));
    store(rest, to + 2 * i);
  }
  void store(const uint8_t* from, unsigned char* to) const {
    const I32 pairs = sub_pairs(load_pairs<kSigned>(from), zero);
    std::memcpy(to, &pairs, sizeof pairs);  // odd runs are not aligned to pairs
  }
  static bool inside(int64_t i, int64_t size) { return uint64_t(i) < uint64_t(size); }

  // Output pixels first..last-1, all taps in the order of the packed weights, `step` bytes from pixel to pixel.
  void rows(int64_t first, int64_t last, unsigned char* to, int64_t step) const {
    if (KH * KW == 1 && sh == 1 && sw == 1 && H == OH && W == OW) {
      for (int64_t m = first; m < last; ++m, to += step) widen(x + m * ldx, C, to);
      return;
    }
    const uint32_t line = uint32_t(first) / uint32_t(OW);
    int64_t ox = uint32_t(first) % uint32_t(OW), oy = line % uint32_t(OH), n = line / uint32_t(OH);
    for (int64_t m = first; m < last; ++m, to += step) {
      pixel(n, oy * sh - pt, ox * sw - pl, to);
      if (++ox == OW) {
        ox = 0;
        if (++oy == OH) oy = 0, ++n;
      }
    }
  }
  void pixel(int64_t n, int64_t iy, int64_t ix, unsigned char* to) const {
    const bool joined = dw == 1 && C == ldx && ix >= 0 && ix + KW <= W;  // a kernel row is one run
    for (int64_t kh = 0; kh < KH; ++kh) {
      const int64_t y = iy + kh * dh;
      const uint8_t* line_at = x + ((n * H + y) * W + ix) * ldx;
      if (!inside(y, H)) {
        std::memset(to, 0, size_t(2 * KW * C));
        to += 2 * KW * C;
      } else if (joined) {
        widen(line_at, KW * C, to);
        to += 2 * KW * C;
      } else {
        for (int64_t kw = 0; kw < KW; ++kw, to += 2 * C) {
          if (inside(ix + kw * dw, W)) widen(line_at + kw * dw * ldx, C, to);
          else std::memset(to, 0, size_t(2 * C));
        }
      }
    }
  }
};

template <bool kSigned> inline void int8_conv(const walle_call* call) {
  const int64_t* arg = call->arg;
  const Cut cut = Cut::make(arg);
  const int64_t O = arg[1], C = arg[6], per_group = cut.units();
  const uint8_t* x = static_cast<const uint8_t*>(call->buf[1]);
  int32_t* const stage = static_cast<int32_t*>(call->buf[5]) + call->thread * arg[9];
  ByteRows<kSigned> at{x, x + arg[27], set_pairs(int32_t(arg[10])), C, arg[7], arg[15], arg[16], arg[17], arg[18], arg[19],
                       arg[20], arg[21], arg[22], arg[23], arg[24], arg[25], arg[26]};
  const Requantise requantise = Requantise::make(arg + 11);
  IntTile t{};
  t.pairs = (at.KH * at.KW * C + 1) / 2, t.stride = stage_stride(t.pairs), t.ldc = arg[8];
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t g = unit / per_group, part = unit % per_group;
    const int64_t block = cut.columns_first ? part % cut.blocks() : part / cut.groups();
    const int64_t group = cut.columns_first ? part / cut.blocks() : part % cut.groups();
    const int64_t tile0 = block * cut.block_tiles, panel0 = group * cut.group_panels;
    const int64_t tile1 = tile0 + cut.block_tiles < cut.tiles ? tile0 + cut.block_tiles : cut.tiles;
    const int64_t panel1 = panel0 + cut.group_panels < cut.panels ? panel0 + cut.group_panels : cut.panels;
    const int64_t first = cut.row(tile0), last = cut.row(tile1);
    at.x = x + g * C;
    at.rows(first, last, reinterpret_cast<unsigned char*>(stage), 4 * t.stride);
    for (int64_t panel = panel0; panel < panel1; ++panel) {
      const int64_t n = panel * kNr, packed = g * cut.panels + panel;
      t.cols = O - n < kNr ? O - n : kNr;
      t.b = static_cast<const int32_t*>(call->buf[2]) + packed * t.pairs * kNr;
      t.bias = static_cast<const int32_t*>(call->buf[3]) + packed * kNr;
      t.scale = static_cast<const float*>(call->buf[4]) + packed * kNr;
      for (int64_t tile = tile0, m = first, next; tile < tile1; ++tile, m = next) {
        next = cut.row(tile + 1);
        t.a = stage + (m - first) * t.stride;
        t.c = static_cast<uint8_t*>(call->buf[0]) + m * t.ldc + g * O + n;
        int8_tile_select(int(next - m), t.cols)(t, requantise);
      }
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_INT8_CONV_ROWS                                          \
  {"int8", "pack", "int8", ::walle::WALLE_ISA::int8_pack<int8_t>},     \
  {"int8", "pack", "uint8", ::walle::WALLE_ISA::int8_pack<uint8_t>},   \
  {"int8", "conv", "int8", ::walle::WALLE_ISA::int8_conv<true>},       \
  {"int8", "conv", "uint8", ::walle::WALLE_ISA::int8_conv<false>},
#endif
