// 8-bit integers without products: conversion from and to float32, addition, tables, pooling. Values are dense.
//
// int8/quantize:    dtype of dst. buf dst, x (float32). arg Requantise. Units: elements.
// int8/dequantize:  dtype of x. buf dst (float32), x. arg f(scale), zero. Units: elements.
// int8/add:         dtype of a and b. buf dst, a, b. arg f(a_scale / y_scale), a_zero, f(b_scale / y_scale), b_zero, y_zero,
//                   low, high. Units: elements.
// int8/lookup:      buf dst, x, table[256]. dst = table[bits of x]. Units: elements.
// int8/max_pool:    buf dst, x. arg n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top,
//                   pad_left. Padding never wins; a window wholly in padding gives the smallest value. Units: n*oh.
// int8/global_average: dtype of x. buf dst, x. arg pixels, c, f(scale), x_zero, Requantise: of the sum of a channel less
//                   pixels * x_zero, times scale. pixels * 255 is below 2^31. Units: images.
#ifndef WALLE_KERNELS_INT8_VECTOR_HPP
#define WALLE_KERNELS_INT8_VECTOR_HPP
#include "walle/kernels/int8_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline void int8_quantize(const walle_call* call) {
  const Requantise q = Requantise::make(call->arg);
  uint8_t* dst = static_cast<uint8_t*>(call->buf[0]);
  const float* x = static_cast<const float*>(call->buf[1]);
  const F32 none = F32::set(0.0f);
  const auto one = [&](F32 v) __attribute__((always_inline)) {  // NaN becomes the integer 0
    const I32 y = add(to_int(min(q.hi, max(q.lo, div(v, q.y_scale)))), q.zero);
    return select(isnan(v), as_int(none), y);
  };
  int64_t i = call->begin;
  for (; i + F32::N <= call->end; i += F32::N) store_low8(one(F32::load(x + i)), dst + i);
  if (i < call->end) store_low8(one(F32::load(x + i, size_t(call->end - i))), dst + i, size_t(call->end - i));
}

template <bool kSigned> inline void int8_dequantize(const walle_call* call) {
  float* dst = static_cast<float*>(call->buf[0]);
  const uint8_t* x = static_cast<const uint8_t*>(call->buf[1]);
  const F32 scale = F32::set(float(walle_f64(call->arg[0])));
  const I32 zero = I32::set(int32_t(call->arg[1]));
  int64_t i = call->begin;
  for (; i + F32::N <= call->end; i += F32::N) mul(to_float(sub(load8<kSigned>(x + i), zero)), scale).store(dst + i);
  if (i < call->end) {
    const size_t n = size_t(call->end - i);
    mul(to_float(sub(load8<kSigned>(x + i, n), zero)), scale).store(dst + i, n);
  }
}

template <bool kSigned> inline void int8_add(const walle_call* call) {
  const int64_t* arg = call->arg;
  uint8_t* dst = static_cast<uint8_t*>(call->buf[0]);
  const uint8_t *a = static_cast<const uint8_t*>(call->buf[1]), *b = static_cast<const uint8_t*>(call->buf[2]);
  const F32 a_scale = F32::set(float(walle_f64(arg[0]))), b_scale = F32::set(float(walle_f64(arg[2])));
  const I32 a_zero = I32::set(int32_t(arg[1])), b_zero = I32::set(int32_t(arg[3]));
  const Narrow narrow = narrow_make(arg + 4);
  const auto sum = [&](const uint8_t* p, const uint8_t* q, uint8_t* to) __attribute__((always_inline)) {
    const auto one = [&](int v) __attribute__((always_inline)) {
      const I32 x = sub(load8<kSigned>(p + v), a_zero), y = sub(load8<kSigned>(q + v), b_zero);
      return add(mul(to_float(x), a_scale), mul(to_float(y), b_scale));
    };
    store_narrow(one(0), one(I32::N), narrow, to);
  };
  int64_t i = call->begin;
  for (; i + kPair <= call->end; i += kPair) sum(a + i, b + i, dst + i);
  if (i < call->end) {
    const size_t n = size_t(call->end - i);
    uint8_t p[kPair] = {}, q[kPair] = {}, to[kPair];
    std::memcpy(p, a + i, n), std::memcpy(q, b + i, n);
    sum(p, q, to);
    std::memcpy(dst + i, to, n);
  }
}

inline void int8_lookup(const walle_call* call) {
  uint8_t* dst = static_cast<uint8_t*>(call->buf[0]);
  const uint8_t *x = static_cast<const uint8_t*>(call->buf[1]), *table = static_cast<const uint8_t*>(call->buf[2]);
  for (int64_t i = call->begin; i < call->end; ++i) dst[i] = table[x[i]];
}

struct IntPoolArgs {
  int64_t n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

constexpr int kBytes = 4 * I32::N;  // in a vector

template <bool kSigned> inline void int8_max_pool(const walle_call* call) {
  const IntPoolArgs& a = *reinterpret_cast<const IntPoolArgs*>(call->arg);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t iy = unit % a.oh * a.stride_h - a.pad_top;
    const uint8_t* image = static_cast<const uint8_t*>(call->buf[1]) + unit / a.oh * a.h * a.w * a.c;
    for (int64_t ox = 0; ox < a.ow; ++ox) {
      const int64_t ix = ox * a.stride_w - a.pad_left;
      uint8_t* dst = static_cast<uint8_t*>(call->buf[0]) + (unit * a.ow + ox) * a.c;
      const auto block = [&](int64_t c, size_t size) __attribute__((always_inline)) {
        I32 best = I32::set(kSigned ? int32_t(0x80808080u) : 0);
        for (int64_t ky = 0; ky < a.kh; ++ky) {
          const int64_t y = iy + ky * a.dilation_h;
          if (uint64_t(y) >= uint64_t(a.h)) continue;
          for (int64_t kx = 0; kx < a.kw; ++kx) {
            const int64_t x = ix + kx * a.dilation_w;
            if (uint64_t(x) >= uint64_t(a.w)) continue;
            I32 bytes = I32::set(0);
            std::memcpy(&bytes, image + (y * a.w + x) * a.c + c, size);
            best = max_bytes<kSigned>(best, bytes);
          }
        }
        std::memcpy(dst + c, &best, size);
      };
      int64_t c = 0;
      for (; c + kBytes <= a.c; c += kBytes) block(c, kBytes);
      if (c < a.c && a.c >= kBytes) block(a.c - kBytes, kBytes);  // some channels twice
      else if (c < a.c) block(c, size_t(a.c - c));
    }
  }
}

template <bool kSigned> inline void int8_global_average(const walle_call* call) {
  const int64_t* arg = call->arg;
  const int64_t pixels = arg[0], channels = arg[1];
  const F32 scale = F32::set(float(walle_f64(arg[2])));
  const I32 centre = I32::set(int32_t(-pixels * arg[3]));
  const Requantise q = Requantise::make(arg + 4);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const uint8_t* image = static_cast<const uint8_t*>(call->buf[1]) + unit * pixels * channels;
    uint8_t* dst = static_cast<uint8_t*>(call->buf[0]) + unit * channels;
    for (int64_t c = 0; c < channels; c += I32::N) {
      const int64_t left = channels - c;
      I32 sum = centre;
      if (left >= I32::N) {
        for (int64_t i = 0; i < pixels; ++i) sum = add(sum, load8<kSigned>(image + i * channels + c));
        store_low8(q(mul(to_float(sum), scale)), dst + c);
      } else {
        for (int64_t i = 0; i < pixels; ++i) sum = add(sum, load8<kSigned>(image + i * channels + c, size_t(left)));
        store_low8(q(mul(to_float(sum), scale)), dst + c, size_t(left));
      }
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_INT8_ROW_PAIR(op, fn)                                \
  {"int8", op, "int8", ::walle::WALLE_ISA::fn<true>},              \
  {"int8", op, "uint8", ::walle::WALLE_ISA::fn<false>},
#define WALLE_INT8_VECTOR_ROWS                                     \
  {"int8", "quantize", "int8", ::walle::WALLE_ISA::int8_quantize}, \
  {"int8", "quantize", "uint8", ::walle::WALLE_ISA::int8_quantize}, \
  {"int8", "lookup", "uint8", ::walle::WALLE_ISA::int8_lookup},    \
  WALLE_INT8_ROW_PAIR("dequantize", int8_dequantize) WALLE_INT8_ROW_PAIR("add", int8_add)        \
  WALLE_INT8_ROW_PAIR("max_pool", int8_max_pool) WALLE_INT8_ROW_PAIR("global_average", int8_global_average)
#endif
