// What products of float32 share whose operands are rounded to 16-bit floats: two of those are a word of a window product
// (windows.hpp), sums and results are float32.
#ifndef WALLE_KERNELS_HALVES_HPP
#define WALLE_KERNELS_HALVES_HPP
#include "walle/kernels/windows.hpp"

namespace walle { namespace WALLE_ISA { namespace {

// Own is the kind itself: it offers pack(low, high) and sums<R, V>.
template <class Own> struct HalfPairs {
  typedef float In;
  typedef F32 Sum;
  typedef float Number;
  static constexpr int kBytes = 2;
  const walle_call* call;
  Activation act;
  Tile place;  // bias, residual and result of the tile at hand

  // Whole vectors are written: up to 2N - 1 numbers beyond n.
  WALLE_INLINE void copy(const float* from, int64_t n, unsigned char* to) const {
    int64_t i = 0;
    for (; i + 2 * F32::N <= n; i += 2 * F32::N) put(F32::load(from + i), F32::load(from + i + F32::N), to + 2 * i);
    if (i == n) return;
    const int64_t left = n - i, more = left - F32::N;
    const F32 low = F32::load(from + i, size_t(left < F32::N ? left : F32::N));
    put(low, more > 0 ? F32::load(from + i + F32::N, size_t(more)) : F32::set(0.0f), to + 2 * i);
  }
  static WALLE_INLINE void put(F32 low, F32 high, unsigned char* to) {
    const I32 words = Own::pack(low, high);
    std::memcpy(to, &words, sizeof words);  // odd runs are not aligned to words
  }
  WALLE_INLINE void blank(int64_t n, unsigned char* to) const { std::memset(to, 0, size_t(2 * n)); }
  void panel(int64_t column, int64_t cols, int64_t) {
    const float* bias = static_cast<const float*>(call->buf[3]);
    place.cols = cols, place.bias = bias ? bias + column : nullptr;
    column_ = column;
  }
  void tile(int64_t m) {
    const float* residual = static_cast<const float*>(call->buf[4]);
    place.c = static_cast<float*>(call->buf[0]) + m * place.ldc + column_;
    place.residual = residual ? residual + m * place.ldr + column_ : nullptr;
  }
  WALLE_INLINE F32 init(int v) const {
    const int64_t left = place.cols - v * F32::N;
    if (!place.bias || left <= 0) return F32::set(0.0f);
    return F32::load(place.bias + v * F32::N, size_t(left < F32::N ? left : F32::N));
  }
  WALLE_INLINE void finish(const float* sums, int height, int vectors) const {
    F32 vector[kMr * kNv];
    for (int i = 0; i < height * vectors; ++i) vector[i] = F32::load(sums + i * F32::N);
    tile_finish(place, vector, height, vectors, act, false);
  }
  int64_t column_;
};

template <class Kind> inline void half_conv(const walle_call* call) {
  Kind kind{{call, Activation::make(call->arg + kWindowArgs + 1), {}, 0}};
  kind.place.ldc = call->arg[8], kind.place.ldr = call->arg[kWindowArgs], kind.place.last = true;
  window_product(call, kind);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
