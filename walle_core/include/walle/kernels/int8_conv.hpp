// Convolution and matrix product of 8-bit integers, channels last. Rows are output pixels, in quads or pairs
// (int8_quads.hpp). A 1 x 1 window of whole quads is read where it is; other windows are gathered in scratch: quads as
// bytes of the ISA's sign (kSignedQuads), padding being the zero point, and pairs as int16 less the zero point.
//
// int8/tile:  dtype int64. buf dst (int64[3]: kIntMr, kNr, kSignedQuads of this ISA). No arguments, one unit.
//
// int8/conv:  dtype of x. buf dst [N,OH,OW,ldc], x [N,H,W,ldx], w_packed, bias' (int32), scale (float32), plan, at, extra,
//                         from (see int8_quads.hpp; no plan: pairs), scratch. bias' and scale: [groups][panels * kNr].
//             arg 0 rows (N*OH*OW), 1 O per group, 2 block_tiles (<= 32), 3 group_panels, 4 columns_first (see Cut), 5 groups,
//                 6 C per group, 7 ldx, 8 ldc, 9 scratch (bytes per thread; 0: rows are read in place), 10 x_zero,
//                 11..13 y_zero, low, high,
//                 14 H, 15 W, 16 OH, 17 OW, 18 KH, 19 KW, 20 stride_h, 21 stride_w, 22 pad_top, 23 pad_left,
//                 24 dilation_h, 25 dilation_w, 26 elements of x.
//             In place: quads, KH = KW = 1, no padding, C a multiple of 4, x of the sign of the ISA's quads.
//             Scratch: block_tiles * kIntMr * (round64(4 * steps) + 64) bytes. Rows are below 2^32.
//             Units: groups * ceil(ceil(rows/kIntMr) / block_tiles) * ceil(ceil(O/kNr) / group_panels).
#ifndef WALLE_KERNELS_INT8_CONV_HPP
#define WALLE_KERNELS_INT8_CONV_HPP
#include "walle/kernels/gemm_block.hpp"
#include "walle/kernels/int8_quads.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kIntBlock = 32;  // most tiles of a block: pointers to its rows live on the stack

inline void int8_tile_shape(const walle_call* call) {
  int64_t* dst = static_cast<int64_t*>(call->buf[0]);
  dst[0] = kIntMr, dst[1] = kNr, dst[2] = kSignedQuads;
}

// Finds the pixels of output rows. Quads: x of the other sign is moved by 128. kWide: pairs.
template <bool kSigned, bool kWide> struct ByteRows {
  static constexpr bool kFlip = !kWide && kSigned != kSignedQuads;
  static constexpr int kSize = kWide ? 2 : 1, kChunk = 4 / kSize * I32::N;  // bytes of an element; elements of a vector
  const uint8_t* x;    // first channel of the group
  const uint8_t* end;  // of all of x
  int32_t zero;        // of x as it is multiplied
  int64_t C, ldx, H, W, OH, OW, KH, KW, sh, sw, pt, pl, dh, dw;

  static ByteRows make(const walle_call* call) {
    const int64_t* arg = call->arg;
    const uint8_t* x = static_cast<const uint8_t*>(call->buf[1]);
    return {x,       x + arg[26], int32_t(arg[10]) + (!kFlip ? 0 : kSigned ? 128 : -128), arg[6], arg[7], arg[14], arg[15], arg[16], arg[17],
            arg[18], arg[19],     arg[20], arg[21], arg[22], arg[23], arg[24], arg[25]};
  }
  // n elements to `to`. Where x goes on, whole vectors are written: up to kChunk - 1 elements beyond n.
  void copy(const uint8_t* from, int64_t n, uint8_t* to) const {
    int64_t i = 0;
    for (; i + kChunk <= n; i += kChunk) store(from + i, to + kSize * i);
    if (i == n) return;
    if (end - from >= i + kChunk) return store(from + i, to + kSize * i);
    uint8_t rest[kChunk] = {};
    std::memcpy(rest, from + i, size_t(n - i));
    store(rest, to + kSize * i);
  }
  void store(const uint8_t* from, uint8_t* to) const {
    I32 v;
    if (kWide) {
      v = sub_pairs(load_pairs<kSigned>(from), set_pairs(zero));
    } else {
      std::memcpy(&v, from, sizeof v);
      if (kFlip) v = bit_xor(v, I32::set(int32_t(0x80808080u)));
    }
    std::memcpy(to, &v, sizeof v);
  }
  void pad(uint8_t* to, int64_t n) const { std::memset(to, kWide ? 0 : zero, size_t(kSize * n)); }
  static bool inside(int64_t i, int64_t size) { return uint64_t(i) < uint64_t(size); }

  // Calls use(image, oy, ox) for output pixels first..last-1.
  template <class Use> void each(int64_t first, int64_t last, Use&& use) const {
    const uint32_t line = uint32_t(first) / uint32_t(OW);
    int64_t ox = uint32_t(first) % uint32_t(OW), oy = line % uint32_t(OH), n = line / uint32_t(OH);
    for (int64_t m = first; m < last; ++m) {
      use(n, oy, ox);
      if (++ox == OW) {
        ox = 0;
        if (++oy == OH) oy = 0, ++n;
      }
    }
  }
  // The pixels where they are.
  void point(int64_t first, int64_t last, const uint8_t** rows) const {
    if (H == OH && W == OW) {
      for (int64_t m = first; m < last; ++m) *rows++ = x + m * ldx;
    } else {
      each(first, last, [&](int64_t n, int64_t oy, int64_t ox) { *rows++ = x + ((n * H + oy * sh) * W + ox * sw) * ldx; });
    }
  }
  // The pixels with all taps in the order of the packed weights, copied to `to`, `step` bytes from one to the next.
  void gather(int64_t first, int64_t last, uint8_t* to, int64_t step, const uint8_t** rows) const {
    each(first, last, [&](int64_t n, int64_t oy, int64_t ox) {
      pixel(n, oy * sh - pt, ox * sw - pl, to);
      *rows++ = to;
      to += step;
    });
  }
  void pixel(int64_t n, int64_t iy, int64_t ix, uint8_t* to) const {
    const bool joined = dw == 1 && C == ldx && ix >= 0 && ix + KW <= W;  // a kernel row is one run
    for (int64_t kh = 0; kh < KH; ++kh) {
      const int64_t y = iy + kh * dh;
      const uint8_t* line_at = x + ((n * H + y) * W + ix) * ldx;
      if (!inside(y, H)) {
        pad(to, KW * C);
        to += kSize * KW * C;
      } else if (joined) {
        copy(line_at, KW * C, to);
        to += kSize * KW * C;
      } else {
        for (int64_t kw = 0; kw < KW; ++kw, to += kSize * C) {
          if (inside(ix + kw * dw, W)) copy(line_at + kw * dw * ldx, C, to);
          else pad(to, C);
        }
      }
    }
  }
};

template <bool kSigned, bool kWide> inline void int8_product(const walle_call* call) {
  const int64_t* arg = call->arg;
  const Cut cut = Cut::make(arg, kIntMr);
  const int64_t O = arg[1], C = arg[6], per_group = cut.units();
  uint8_t* const scratch = static_cast<uint8_t*>(call->buf[9]) + call->thread * arg[9];
  auto at = ByteRows<kSigned, kWide>::make(call);
  const uint8_t* const x = at.x;
  const Narrow narrow = narrow_make(arg + 11);
  const int32_t *plan = static_cast<const int32_t*>(call->buf[5]), *starts = static_cast<const int32_t*>(call->buf[6]);
  const uint8_t* rows[kIntBlock * kIntMr];
  IntTiles t{};
  const int64_t per_step = kWide ? 2 : 4;
  t.steps = (at.KH * at.KW * C + per_step - 1) / per_step, t.ldc = arg[8];
  const int64_t step = ((4 * t.steps + 63) & ~int64_t(63)) + 64;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t g = unit / per_group, part = unit % per_group;
    const int64_t block = cut.columns_first ? part % cut.blocks() : part / cut.groups();
    const int64_t group = cut.columns_first ? part / cut.blocks() : part % cut.groups();
    const int64_t tile0 = block * cut.block_tiles, panel0 = group * cut.group_panels;
    const int64_t tile1 = tile0 + cut.block_tiles < cut.tiles ? tile0 + cut.block_tiles : cut.tiles;
    const int64_t panel1 = panel0 + cut.group_panels < cut.panels ? panel0 + cut.group_panels : cut.panels;
    const int64_t first = cut.row(tile0), last = cut.row(tile1);
    at.x = x + g * C;
    if (arg[9]) at.gather(first, last, scratch, step, rows);
    else at.point(first, last, rows);
    for (int64_t panel = panel0; panel < panel1; ++panel) {
      const int64_t n = panel * kNr, packed = g * cut.panels + panel;
      t.cols = O - n < kNr ? O - n : kNr;
      t.b = static_cast<const int32_t*>(call->buf[2]) + packed * t.steps * kNr;
      t.bias = static_cast<const int32_t*>(call->buf[3]) + packed * kNr;
      t.scale = static_cast<const float*>(call->buf[4]) + packed * kNr;
      t.step = kWide ? kPairs : plan[2 * packed + 1] ? kTwoQuads : kQuads;
      if (!kWide) {
        t.extras = plan[2 * packed];
        t.extra = static_cast<const int32_t*>(call->buf[7]) + starts[packed] * int64_t(kNr);
        t.from = static_cast<const int32_t*>(call->buf[8]) + starts[packed];
      }
      uint8_t* const c = static_cast<uint8_t*>(call->buf[0]) + g * O + n;
      const int64_t bytes = t.steps * kNr * 4;
      t.ahead = panel + 1 < panel1 ? reinterpret_cast<const char*>(t.b) + bytes : nullptr;
      t.lines = (bytes / 64 + tile1 - tile0 - 1) / (tile1 - tile0);
      for (int64_t tile = tile0, next; tile < tile1; tile = next) {
        next = cut.alike(tile, tile1);
        const int64_t m = cut.row(tile);
        t.rows = rows + (m - first), t.c = c + m * t.ldc;
        int_tiles_select(cut.height(tile), t.cols)(t, next - tile, narrow);
        if (t.ahead) t.ahead += 64 * t.lines * (next - tile);
      }
    }
  }
}

template <bool kSigned> inline void int8_conv(const walle_call* call) {
  call->buf[5] ? int8_product<kSigned, false>(call) : int8_product<kSigned, true>(call);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_INT8_CONV_ROWS                                                        \
  {"int8", "tile", "int64", ::walle::WALLE_ISA::int8_tile_shape},                    \
  {"int8", "quads_plan", "int8", ::walle::WALLE_ISA::int8_quads_plan<int8_t>},       \
  {"int8", "quads_plan", "uint8", ::walle::WALLE_ISA::int8_quads_plan<uint8_t>},     \
  {"int8", "quads_pack", "int8", ::walle::WALLE_ISA::int8_quads_pack<int8_t>},       \
  {"int8", "quads_pack", "uint8", ::walle::WALLE_ISA::int8_quads_pack<uint8_t>},     \
  {"int8", "pairs_pack", "int8", ::walle::WALLE_ISA::int8_pairs_pack<int8_t>},       \
  {"int8", "pairs_pack", "uint8", ::walle::WALLE_ISA::int8_pairs_pack<uint8_t>},     \
  {"int8", "conv", "int8", ::walle::WALLE_ISA::int8_conv<true>},                     \
  {"int8", "conv", "uint8", ::walle::WALLE_ISA::int8_conv<false>},
#endif
