// Packed matrix product for one level of processors: included by product_*.cpp only. The layout is Goto's: panels of B
// that stay in the second-level cache, blocks of A in the first, a register tile of kRows x 2 vectors.
#ifndef WALLE_PRODUCT_LEVEL
#error "compile a product_*.cpp, not this header"
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "walle/matrix/product_level.hpp"

namespace walle { namespace matrix { namespace WALLE_PRODUCT_LEVEL { namespace {

constexpr int64_t kDepth = 256, kBlockRows = 96, kBlockColumns = 1024;

template <class T>
struct Packed {
  static constexpr int kLanes = WALLE_PRODUCT_BYTES / int(sizeof(T)), kRows = WALLE_PRODUCT_ROWS, kColumns = 2 * kLanes;
  typedef T V __attribute__((vector_size(WALLE_PRODUCT_BYTES), aligned(sizeof(T)), may_alias));

  // c[kRows][kColumns] of the sums over k of a[k][kRows] b[k][kColumns].
  static inline __attribute__((always_inline)) void tile(const T* a, const T* b, int64_t depth, V (&acc)[kRows][2]) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][0] = acc[r][1] = V{};
    for (int64_t k = 0; k < depth; ++k, a += kRows, b += kColumns) {
      const V x = *reinterpret_cast<const V*>(b), y = *reinterpret_cast<const V*>(b + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        acc[r][0] += a[r] * x;
        acc[r][1] += a[r] * y;
      }
    }
  }

  static void panel(const T* a, const T* b, T* c, int64_t ldc, int64_t depth, int64_t rows, int64_t columns, int mode) {
    V acc[kRows][2];
    tile(a, b, depth, acc);
    if (rows == kRows && columns == kColumns) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        V* to = reinterpret_cast<V*>(c + r * ldc);
        V* more = reinterpret_cast<V*>(c + r * ldc + kLanes);
        if (mode == kProductSet) *to = acc[r][0], *more = acc[r][1];
        else if (mode == kProductAdd) *to += acc[r][0], *more += acc[r][1];
        else *to -= acc[r][0], *more -= acc[r][1];
      }
      return;
    }
    T spilled[kRows * kColumns];
    memcpy(spilled, acc, sizeof(spilled));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < columns; ++j) {
        const T sum = spilled[r * kColumns + j];
        T& to = c[r * ldc + j];
        to = mode == kProductSet ? sum : mode == kProductAdd ? to + sum : to - sum;
      }
  }

  static void pack_b(const T* b, int64_t ldb, int64_t depth, int64_t columns, T* out) {
    for (int64_t j0 = 0; j0 < columns; j0 += kColumns) {
      const int64_t width = columns - j0 < kColumns ? columns - j0 : kColumns;
      for (int64_t k = 0; k < depth; ++k, out += kColumns) {
        const T* from = b + k * ldb + j0;
        if (width == kColumns) memcpy(out, from, sizeof(T) * kColumns);
        else
          for (int64_t j = 0; j < kColumns; ++j) out[j] = j < width ? from[j] : T(0);
      }
    }
  }

  static void pack_a(const T* a, int64_t lda, int64_t rows, int64_t depth, T* out) {
    for (int64_t i0 = 0; i0 < rows; i0 += kRows) {
      const int64_t height = rows - i0 < kRows ? rows - i0 : kRows;
      for (int64_t k = 0; k < depth; ++k, out += kRows)
        for (int64_t r = 0; r < kRows; ++r) out[r] = r < height ? a[(i0 + r) * lda + k] : T(0);
    }
  }

  static bool run(const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k,
                  int mode) {
    const int64_t depth = k < kDepth ? k : kDepth, width = n < kBlockColumns ? n : kBlockColumns;
    const int64_t whole = (width + kColumns - 1) / kColumns * kColumns, tall = (kBlockRows + kRows - 1) / kRows * kRows;
    T* room = static_cast<T*>(aligned_alloc(64, (size_t(depth) * size_t(whole + tall) * sizeof(T) + 63) / 64 * 64));
    if (!room) return false;
    T *packed_b = room, *packed_a = room + depth * whole;
    for (int64_t j0 = 0; j0 < n; j0 += kBlockColumns) {
      const int64_t columns = n - j0 < kBlockColumns ? n - j0 : kBlockColumns;
      for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
        const int64_t steps = k - k0 < kDepth ? k - k0 : kDepth;
        const int how = k0 && mode == kProductSet ? kProductAdd : mode;
        pack_b(b + k0 * ldb + j0, ldb, steps, columns, packed_b);
        for (int64_t i0 = 0; i0 < m; i0 += kBlockRows) {
          const int64_t rows = m - i0 < kBlockRows ? m - i0 : kBlockRows;
          pack_a(a + i0 * lda + k0, lda, rows, steps, packed_a);
          for (int64_t j = 0; j < columns; j += kColumns)
            for (int64_t i = 0; i < rows; i += kRows)
              panel(packed_a + i * steps, packed_b + j * steps, c + (i0 + i) * ldc + j0 + j, ldc, steps,
                    rows - i < kRows ? rows - i : kRows, columns - j < kColumns ? columns - j : kColumns, how);
        }
      }
    }
    free(room);
    return true;
  }

  // Without packing: few rows, or few of anything. Four rows of b at a time, to write c less often.
  static void rows(const T* a, const T* b, T* __restrict c, int64_t m, int64_t n, int64_t k) {
    constexpr int64_t kWidth = 2048;
    for (int64_t j0 = 0; j0 < n; j0 += kWidth) {
      const int64_t width = n - j0 < kWidth ? n - j0 : kWidth;
      for (int64_t i = 0; i < m; ++i) {
        T* __restrict to = c + i * n + j0;
        const T *x = a + i * k, *y = b + j0;
        for (int64_t j = 0; j < width; ++j) to[j] = x[0] * y[j];
        int64_t p = 1;
        for (; p + 4 <= k; p += 4) {
          const T f0 = x[p], f1 = x[p + 1], f2 = x[p + 2], f3 = x[p + 3];
          const T *y0 = y + p * n, *y1 = y0 + n, *y2 = y1 + n, *y3 = y2 + n;
          for (int64_t j = 0; j < width; ++j) to[j] += (f0 * y0[j] + f1 * y1[j]) + (f2 * y2[j] + f3 * y3[j]);
        }
        for (; p < k; ++p)
          for (int64_t j = 0; j < width; ++j) to[j] += x[p] * y[p * n + j];
      }
    }
  }

  static T dot(const T* a, const T* b, int64_t k) {
    V s0 = V{}, s1 = V{}, s2 = V{}, s3 = V{};
#define WALLE_AT(x) (*reinterpret_cast<const V*>(x))
    int64_t j = 0;
    for (; j + 4 * kLanes <= k; j += 4 * kLanes) {
      s0 += WALLE_AT(a + j) * WALLE_AT(b + j);
      s1 += WALLE_AT(a + j + kLanes) * WALLE_AT(b + j + kLanes);
      s2 += WALLE_AT(a + j + 2 * kLanes) * WALLE_AT(b + j + 2 * kLanes);
      s3 += WALLE_AT(a + j + 3 * kLanes) * WALLE_AT(b + j + 3 * kLanes);
    }
    for (; j + kLanes <= k; j += kLanes) s0 += WALLE_AT(a + j) * WALLE_AT(b + j);
#undef WALLE_AT
    s0 = (s0 + s1) + (s2 + s3);
    T sum = 0;
    for (int l = 0; l < kLanes; ++l) sum += s0[l];
    for (; j < k; ++j) sum += a[j] * b[j];
    return sum;
  }

  static void dots(const T* a, const T* b, T* out, int64_t count, int64_t k, int64_t a_step, int64_t b_step, int64_t out_step) {
    for (int64_t i = 0; i < count; ++i) out[i * out_step] = dot(a + i * a_step, b + i * b_step, k);
  }
};

const ProductLevel level = {{Packed<float>::run, Packed<float>::rows, Packed<float>::dots},
                            {Packed<double>::run, Packed<double>::rows, Packed<double>::dots}};

}}}}  // namespace walle::matrix::WALLE_PRODUCT_LEVEL::(anonymous)

#define WALLE_PRODUCT_EXPORT(name)                                                        \
  extern "C" __attribute__((visibility("hidden"))) const walle::matrix::ProductLevel* name() { \
    return &walle::matrix::WALLE_PRODUCT_LEVEL::level;                                    \
  }
