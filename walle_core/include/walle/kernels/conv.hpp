// Convolution as an implicit matrix product, channels last, float32: rows are output pixels, columns output channels,
// K runs over kernel taps and input channels. No patch matrix is made: each tile gets a pointer per pixel and tap.
//
// pack_b/conv:  buf dst, w (ONNX order [groups*O, C, taps]). arg groups, O (per group), C (per group), taps.
//               dst[group][panel][tap][c][kNr], zero where o >= O. Units: groups * ceil(O / kNr).
//
// conv/direct:  buf dst [N,OH,OW,ldc], x [N,H,W,ldx], w_packed, bias (or null), residual (or null), zeros (as many
//               floats as one run), scratch (or null).
//               arg  0 rows (N*OH*OW), 1 O per group, 2 block_tiles, 3 group_panels, 4 columns_first (see Cut),
//                    5 groups, 6 C per group, 7 kc (elements of K per piece), 8 ldx, 9 ldc, 10 ldr (floats per pixel),
//                    11 scratch floats per thread, 12 mode, 13..15 activation,
//                    16 H, 17 W, 18 OH, 19 OW, 20 KH, 21 KW, 22 stride_h, 23 stride_w, 24 pad_top, 25 pad_left,
//                    26 dilation_h, 27 dilation_w.
//               mode 0: a run is one tap's channels, read in place (outside the image: zeros).
//               mode 1: the same, copied to scratch first (pixels at distances of 2 KiB share cache sets);
//                       scratch block_tiles * kMr * (round16(piece) + 16) floats.
//               mode 2: few channels: a run is a whole kernel row, KW*C floats, read in place; pixels at the left and
//                       right border are copied to scratch with their padding. Needs groups 1, dilation_w 1, ldx C,
//                       kc >= K; scratch block_tiles * kMr * K floats.
//               Rows (output pixels) are below 2^32.
//               Units: groups * ceil(ceil(rows/kMr) / block_tiles) * ceil(ceil(O/kNr) / group_panels).
#ifndef WALLE_KERNELS_CONV_HPP
#define WALLE_KERNELS_CONV_HPP
#include "walle/kernels/gemm_block.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline void conv_pack(const walle_call* call) {
  const int64_t O = call->arg[1], C = call->arg[2], taps = call->arg[3];
  const int64_t panels = (O + kNr - 1) / kNr;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t n0 = unit % panels * kNr, cols = O - n0 < kNr ? O - n0 : kNr;
    const float* w = static_cast<const float*>(call->buf[1]) + (unit / panels * O + n0) * C * taps;
    float* out = static_cast<float*>(call->buf[0]) + unit * taps * C * kNr;
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t t = 0; t < taps; ++t) {
        float* to = out + (t * C + c) * kNr;
        for (int64_t n = 0; n < kNr; ++n) to[n] = n < cols ? w[(n * C + c) * taps + t] : 0.0f;
      }
    }
  }
}

// The geometry of one call: where the pixels that feed an output pixel are.
struct ConvRows {
  const float* x;      // first channel of the group
  const float* zeros;
  float* patch;        // mode 2
  int64_t C, ldx, H, W, OH, OW, KH, KW, sh, sw, pt, pl, dh, dw;

  static bool inside(int64_t i, int64_t size) { return uint64_t(i) < uint64_t(size); }

  // Output pixels m..m+height: the input position of tap (0, 0), and its address as if the image had no border.
  struct Pixels {
    int64_t y[kMr], x[kMr];
    const float* at[kMr];
    bool interior;  // no tap of any of them is outside the image
  };

  Pixels pixels(int64_t m, int height) const {
    Pixels p;
    uint32_t ow = uint32_t(m) % uint32_t(OW), line = uint32_t(m) / uint32_t(OW);
    uint32_t oh = line % uint32_t(OH), n = line / uint32_t(OH);
    const int64_t reach_y = (KH - 1) * dh, reach_x = (KW - 1) * dw;
    p.interior = true;
    for (int r = 0; r < height;) {  // stretches of one output line; most tiles are one
      const int64_t iy = oh * sh - pt, ix = ow * sw - pl, step = sw * ldx;
      const int64_t left = OW - ow, stretch = left < height - r ? left : height - r;
      const float* at = x + ((n * H + iy) * W + ix) * ldx;
      p.interior &= (iy >= 0) & (ix >= 0) & (iy + reach_y < H) & (ix + (stretch - 1) * sw + reach_x < W);
      for (int64_t i = 0; i < stretch; ++i, ++r) p.y[r] = iy, p.x[r] = ix + i * sw, p.at[r] = at + i * step;
      ow = 0;
      if (++oh == OH) oh = 0, ++n;
    }
    return p;
  }

  void by_tap(const float** rows, int64_t m, int height, int64_t tap, int64_t taps, int64_t k) const {
    const Pixels p = pixels(m, height);
    int64_t kh = tap / KW, kw = tap % KW;
    for (int64_t t = 0; t < taps; ++t, rows += kMr) {
      const int64_t dy = kh * dh, dx = kw * dw, step = (dy * W + dx) * ldx + k;
      if (p.interior) {
        for (int r = 0; r < height; ++r) rows[r] = p.at[r] + step;
      } else {
        for (int r = 0; r < height; ++r) {
          rows[r] = inside(p.y[r] + dy, H) && inside(p.x[r] + dx, W) ? p.at[r] + step : zeros;
        }
      }
      if (++kw == KW) kw = 0, ++kh;
    }
  }

  void by_row(const float** rows, int64_t tile, int64_t m, int height) const {
    const Pixels p = pixels(m, height);
    if (p.interior) {
      for (int64_t kh = 0; kh < KH; ++kh, rows += kMr)
        for (int r = 0; r < height; ++r) rows[r] = p.at[r] + kh * dh * W * C;
      return;
    }
    for (int64_t kh = 0; kh < KH; ++kh, rows += kMr) {
      const int64_t dy = kh * dh, step = dy * W * C;
      for (int r = 0; r < height; ++r) {
        const float* at = p.at[r] + step;
        if (!inside(p.y[r] + dy, H)) {
          at = zeros;
        } else if (p.x[r] < 0 || p.x[r] + KW > W) {
          at = padded(p.at[r] + step, p.x[r], patch + ((tile * kMr + r) * KH + kh) * KW * C);
        }
        rows[r] = at;
      }
    }
  }

  // Copies a kernel row that starts at column `ix` of the image, zeros where it is outside.
  const float* padded(const float* at, int64_t ix, float* to) const {
    const int64_t first = ix < 0 ? (-ix < KW ? -ix : KW) : 0, last = W - ix < KW ? (W - ix > first ? W - ix : first) : KW;
    for (int64_t i = 0; i < first * C; ++i) to[i] = 0.0f;
    for (int64_t i = first * C; i < last * C; ++i) to[i] = at[i];
    for (int64_t i = last * C; i < KW * C; ++i) to[i] = 0.0f;
    return to;
  }
};

inline void conv_direct(const walle_call* call) {
  const int64_t* arg = call->arg;
  const Cut cut = Cut::make(arg);
  const int64_t O = arg[1], C = arg[6], per_group = cut.units(), mode = arg[12];
  float* scratch = arg[11] ? static_cast<float*>(call->buf[6]) + call->thread * arg[11] : nullptr;
  const float* bias = static_cast<const float*>(call->buf[3]);
  const float* residual = static_cast<const float*>(call->buf[4]);
  ConvRows at{nullptr, static_cast<const float*>(call->buf[5]), scratch, C, arg[8], arg[16], arg[17], arg[18], arg[19],
              arg[20], arg[21], arg[22], arg[23], arg[24], arg[25], arg[26], arg[27]};
  Product p{};
  p.taps = mode == 2 ? at.KH : at.KH * at.KW, p.run = mode == 2 ? at.KW * C : C, p.kc = arg[7];
  p.ldc = arg[9], p.ldr = arg[10];
  p.stage = mode == 1 ? scratch : nullptr;
  p.act = Activation::make(arg + 13);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t g = unit / per_group;
    at.x = static_cast<const float*>(call->buf[1]) + g * C;
    p.b = static_cast<const float*>(call->buf[2]) + g * cut.panels * p.taps * p.run * kNr;
    p.c = static_cast<float*>(call->buf[0]) + g * O;
    p.bias = bias ? bias + g * O : nullptr;
    p.residual = residual ? residual + g * O : nullptr;
    if (mode == 2) {
      block_unit(cut, p, unit % per_group,
                 [&](const float** rows, int64_t tile, int64_t m, int height, int64_t, int64_t, int64_t) {
                   at.by_row(rows, tile, m, height);
                 });
    } else {
      block_unit(cut, p, unit % per_group,
                 [&](const float** rows, int64_t, int64_t m, int height, int64_t tap, int64_t taps, int64_t k) {
                   at.by_tap(rows, m, height, tap, taps, k);
                 });
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_CONV_ROWS                                                    \
  {"pack_b", "conv", "float32", ::walle::WALLE_ISA::conv_pack},             \
  {"conv", "direct", "float32", ::walle::WALLE_ISA::conv_direct},
#endif
