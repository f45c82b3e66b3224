// Depthwise convolution of 8-bit integers, channels last: blocks of 2N channels; two kernel rows make the pairs.
//
// int8/depthwise_pack:  dtype of w. buf dst, bias', scale', w [c][kh*kw], bias (int32), scale (float32).
//     arg c, kh, kw, w_zero. dst[block][ceil(kh/2)][kw][2N] pairs, bias'[block][2N], scale'[block][2N], all in the order
//     of zip_pairs, zero where a channel or a kernel row does not exist. Blocks start at 0, 2N, ...; the last of several
//     ends with the last channel. Units: blocks = ceil(c / 2N).
//
// int8/depthwise:  dtype of x. buf dst, x, w', bias', scale'.
//     arg n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, x_zero, y_zero, low, high.
//     Units: rows of dst (n*oh).
#ifndef WALLE_KERNELS_INT8_DEPTHWISE_HPP
#define WALLE_KERNELS_INT8_DEPTHWISE_HPP
#include "walle/kernels/int8_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline int64_t int8_block(int64_t block, int64_t c) {
  const int64_t start = block * kPair;
  return start + kPair > c && c > kPair ? c - kPair : start;
}

template <class T> inline void int8_depthwise_pack(const walle_call* call) {
  const int64_t c = call->arg[0], kh = call->arg[1], kw = call->arg[2], halves = (kh + 1) / 2;
  const int32_t w_zero = int32_t(call->arg[3]);
  const T* w = static_cast<const T*>(call->buf[3]);
  const int32_t* bias = static_cast<const int32_t*>(call->buf[4]);
  const float* scale = static_cast<const float*>(call->buf[5]);
  uint8_t numbers[kPair];  // which channel is where after a zip
  for (int i = 0; i < kPair; ++i) numbers[i] = uint8_t(i);
  int32_t order[kPair];
  I32 lo, hi;
  zip_pairs(load_pairs_u8(numbers), I32::set(0), &lo, &hi);
  lo.store(order), hi.store(order + I32::N);
  for (int64_t block = call->begin; block < call->end; ++block) {
    uint32_t* out = static_cast<uint32_t*>(call->buf[0]) + block * halves * kw * kPair;
    const int64_t c0 = int8_block(block, c);
    const auto at = [&](int64_t channel, int64_t ky, int64_t kx) {
      return channel < c && ky < kh ? uint32_t(int32_t(w[(channel * kh + ky) * kw + kx]) - w_zero) : 0u;
    };
    for (int64_t half = 0; half < halves; ++half)
      for (int64_t kx = 0; kx < kw; ++kx)
        for (int i = 0; i < kPair; ++i)
          *out++ = at(c0 + order[i], 2 * half + 1, kx) << 16 | (at(c0 + order[i], 2 * half, kx) & 0xffffu);
    for (int i = 0; i < kPair; ++i) {
      const int64_t channel = c0 + order[i];
      static_cast<int32_t*>(call->buf[1])[block * kPair + i] = channel < c ? bias[channel] : 0;
      static_cast<float*>(call->buf[2])[block * kPair + i] = channel < c ? scale[channel] : 0.0f;
    }
  }
}

struct IntDepthwiseArgs {
  int64_t n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, x_zero;
};

constexpr int kIntRows = 64;  // most kernel rows

// One output row of one block of channels. rows[ky]: the block's bytes at column 0, and the distance of columns (0 where
// the row is outside the image: `outside` then stands for every pixel).
struct IntDepthwiseRow {
  const IntDepthwiseArgs& a;
  const Narrow& narrow;
  const uint8_t* rows[kIntRows];
  int64_t steps[kIntRows];
  const uint8_t* outside;  // kPair bytes of the zero point
  const int32_t *weights, *bias;
  const float* scale;
  uint8_t* dst;
  int64_t channels;  // of the block that exist
};

// What a strip must mind: nothing; columns outside the image and fewer than P pixels; also a block narrower than a vector.
enum Strip { kInside, kEdge, kNarrow };

// P pixels from ox. KW, SW: known kernel width and stride (dilation 1), or 0.
template <bool kSigned, int KW, int SW, int P, Strip kStrip>
__attribute__((noinline)) void int8_strip(const IntDepthwiseRow& r, int64_t ox, int64_t valid) {
  const IntDepthwiseArgs& a = r.a;
  const int64_t kw = KW ? KW : a.kw, stride = SW ? SW : a.stride_w, dilation = KW ? 1 : a.dilation_w;
  const int64_t ix0 = ox * stride - a.pad_left;
  const I32 zero = set_pairs(int32_t(a.x_zero));
  const auto input = [&](int64_t ky, int64_t x) __attribute__((always_inline)) {
    const uint8_t* p = r.rows[ky] + (ix0 + x) * r.steps[ky];
    if (kStrip != kInside && uint64_t(ix0 + x) >= uint64_t(a.w)) return I32::set(0);
    if (kStrip != kNarrow || r.steps[ky] == 0) return sub_pairs(load_pairs<kSigned>(p), zero);
    uint8_t bytes[kPair] = {};
    std::memcpy(bytes, p, size_t(r.channels));
    return sub_pairs(load_pairs<kSigned>(bytes), zero);
  };
  const I32 bias_lo = I32::load(r.bias), bias_hi = I32::load(r.bias + I32::N);
  I32 acc[P][2];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) acc[p][0] = bias_lo, acc[p][1] = bias_hi;
  const int32_t* w = r.weights;
  const auto rows = [&](int64_t ky, auto two) __attribute__((always_inline)) {  // kernel rows ky and, where two, ky + 1
    const auto columns = [&](int64_t x, I32* lo, I32* hi) __attribute__((always_inline)) {
      zip_pairs(input(ky, x), two ? input(ky + 1, x) : I32::set(0), lo, hi);
    };
    if constexpr (KW > 0) {
#pragma GCC unroll 32
      for (int x = 0; x < (P - 1) * SW + KW; ++x) {
        I32 lo, hi;
        columns(x, &lo, &hi);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          const int kx = x - p * SW;
          if (kx >= 0 && kx < KW) {
            acc[p][0] = dot_pairs(lo, I32::load(w + kx * kPair), acc[p][0]);
            acc[p][1] = dot_pairs(hi, I32::load(w + kx * kPair + I32::N), acc[p][1]);
          }
        }
      }
    } else {
      for (int64_t kx = 0; kx < kw; ++kx) {
        const I32 w_lo = I32::load(w + kx * kPair), w_hi = I32::load(w + kx * kPair + I32::N);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          I32 lo, hi;
          columns(p * stride + kx * dilation, &lo, &hi);
          acc[p][0] = dot_pairs(lo, w_lo, acc[p][0]);
          acc[p][1] = dot_pairs(hi, w_hi, acc[p][1]);
        }
      }
    }
    w += kw * kPair;
  };
  struct Yes { constexpr operator bool() const { return true; } };
  struct No { constexpr operator bool() const { return false; } };
  int64_t ky = 0;
  for (; ky + 2 <= a.kh; ky += 2) rows(ky, Yes{});
  if (ky < a.kh) rows(ky, No{});
  const F32 scale_lo = F32::load(r.scale), scale_hi = F32::load(r.scale + F32::N);
  const Narrow narrow = r.narrow;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    if (kStrip != kInside && p >= valid) break;
    uint8_t* to = r.dst + (ox + p) * a.c;
    const F32 lo = mul(to_float(acc[p][0]), scale_lo), hi = mul(to_float(acc[p][1]), scale_hi);
    if (kStrip != kNarrow) {
      store_zipped_narrow(lo, hi, narrow, to);
    } else {
      uint8_t bytes[kPair];
      store_zipped_narrow(lo, hi, narrow, bytes);
      std::memcpy(to, bytes, size_t(r.channels));
    }
  }
}

template <bool kSigned, int KW, int SW> void int8_depthwise_row(const IntDepthwiseRow& r) {
  constexpr int P = 4;
  const IntDepthwiseArgs& a = r.a;
  const int64_t span = (a.kw - 1) * a.dilation_w;
  for (int64_t ox = 0; ox < a.ow; ox += P) {
    const int64_t ix = ox * a.stride_w - a.pad_left, valid = a.ow - ox < P ? a.ow - ox : P;
    const bool inside = ix >= 0 && ix + (P - 1) * a.stride_w + span < a.w && valid == P;
    if (r.channels < kPair) int8_strip<kSigned, KW, SW, P, kNarrow>(r, ox, valid);
    else if (inside) int8_strip<kSigned, KW, SW, P, kInside>(r, ox, P);
    else int8_strip<kSigned, KW, SW, P, kEdge>(r, ox, valid);
  }
}

template <bool kSigned> inline void int8_depthwise(const walle_call* call) {
  const IntDepthwiseArgs& a = *reinterpret_cast<const IntDepthwiseArgs*>(call->arg);
  const Narrow narrow = narrow_make(call->arg + sizeof(IntDepthwiseArgs) / sizeof(int64_t));
  const int64_t blocks = (a.c + kPair - 1) / kPair, taps = (a.kh + 1) / 2 * a.kw;
  void (*run)(const IntDepthwiseRow&) = int8_depthwise_row<kSigned, 0, 0>;
  const int64_t shape = a.dilation_w == 1 ? a.kw * 10 + a.stride_w : 0;
  if (shape == 31) run = int8_depthwise_row<kSigned, 3, 1>;
  if (shape == 32) run = int8_depthwise_row<kSigned, 3, 2>;
  if (shape == 51) run = int8_depthwise_row<kSigned, 5, 1>;
  if (shape == 52) run = int8_depthwise_row<kSigned, 5, 2>;
  uint8_t outside[kPair];
  std::memset(outside, int(uint8_t(a.x_zero)), kPair);
  IntDepthwiseRow r{a, narrow, {}, {}, outside, nullptr, nullptr, nullptr, nullptr, 0};
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t iy0 = unit % a.oh * a.stride_h - a.pad_top;
    const uint8_t* image = static_cast<const uint8_t*>(call->buf[1]) + unit / a.oh * a.h * a.w * a.c;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t c0 = int8_block(block, a.c);
      r.channels = a.c - c0 < kPair ? a.c - c0 : kPair;
      for (int64_t ky = 0; ky < a.kh; ++ky) {
        const int64_t y = iy0 + ky * a.dilation_h;
        const bool valid = uint64_t(y) < uint64_t(a.h);
        r.rows[ky] = valid ? image + y * a.w * a.c + c0 : outside;
        r.steps[ky] = valid ? a.c : 0;
      }
      r.weights = static_cast<const int32_t*>(call->buf[2]) + block * taps * kPair;
      r.bias = static_cast<const int32_t*>(call->buf[3]) + block * kPair;
      r.scale = static_cast<const float*>(call->buf[4]) + block * kPair;
      r.dst = static_cast<uint8_t*>(call->buf[0]) + unit * a.ow * a.c + c0;
      run(r);
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_INT8_DEPTHWISE_ROWS                                                         \
  {"int8", "depthwise_pack", "int8", ::walle::WALLE_ISA::int8_depthwise_pack<int8_t>},     \
  {"int8", "depthwise_pack", "uint8", ::walle::WALLE_ISA::int8_depthwise_pack<uint8_t>},   \
  {"int8", "depthwise", "int8", ::walle::WALLE_ISA::int8_depthwise<true>},                 \
  {"int8", "depthwise", "uint8", ::walle::WALLE_ISA::int8_depthwise<false>},
#endif
