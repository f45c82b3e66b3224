// Walks over broadcast operands and strided memory, in contiguous rows wherever there are any. Strides are in bytes.
#ifndef WALLE_MATRIX_WALK_HPP
#define WALLE_MATRIX_WALK_HPP
#include <string.h>

#include "walle/abi.h"
#include "walle/stop.hpp"
#include "walle/matrix/types.hpp"

namespace walle { namespace matrix {

// A row loop of this library, or a row of an engine's kernel table (families unary and binary).
struct Row1 {
  unary_row own;
  walle_kernel_fn engine;
  void operator()(void* dst, const void* a, int64_t n) const {
    if (!engine) return own(dst, a, n);
    void* buf[2] = {dst, const_cast<void*>(a)};
    const int64_t none[3] = {0, 0, 0};
    const walle_call call = {buf, none, 0, n, 0, 1};
    engine(&call);
  }
};
struct Row2 {
  binary_row own;
  walle_kernel_fn engine;
  void operator()(void* dst, const void* a, const void* b, int64_t n, int dense) const {
    if (!engine) return own(dst, a, b, n, dense);
    void* buf[3] = {dst, const_cast<void*>(a), const_cast<void*>(b)};
    const int64_t arg[4] = {1, n, dense & 1, dense >> 1};
    const walle_call call = {buf, arg, 0, n, 0, 1};
    engine(&call);
  }
};

// A row in pieces, so that a long one looks between them; an item of dst and of the operands.
inline void in_pieces(const Row1& row, char* d, const char* a, int64_t n, int64_t item_dst, int64_t item) {
  walle_in_pieces(n, [&](int64_t i, int64_t end) { row(d + i * item_dst, a + i * item, end - i); });
}
inline void in_pieces(const Row2& row, char* d, const char* a, const char* b, int64_t n, int dense, int64_t item_dst,
                      int64_t item) {
  walle_in_pieces(n, [&](int64_t i, int64_t end) {
    row(d + i * item_dst, a + (dense & 1 ? i * item : 0), b + (dense & 2 ? i * item : 0), end - i, dense);
  });
}

inline void repeat(char* to, const char* from, int64_t n, int64_t item) {
  for (int64_t i = 0; i < n; ++i) memcpy(to + i * item, from, size_t(item));
}

// dst (dense) = row(a, b) over `sizes`; a stride is 0 where the operand repeats, else that of a dense array.
inline void walk2(const Row2& row, char* dst, const char* a, const char* b, int rank, const int64_t* sizes,
                  const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item) {
  int64_t size[kMaxRank], stride_a[kMaxRank], stride_b[kMaxRank], at[kMaxRank] = {0}, total = 1;
  int r = 0;
  for (int i = 0; i < rank; ++i) {
    total *= sizes[i];
    if (sizes[i] == 1) continue;
    if (r && stride_a[r - 1] == sizes[i] * sa[i] && stride_b[r - 1] == sizes[i] * sb[i]) {
      size[r - 1] *= sizes[i];
    } else {
      size[r++] = sizes[i];
    }
    stride_a[r - 1] = sa[i], stride_b[r - 1] = sb[i];
  }
  if (total == 0) return;
  if (r == 0) size[0] = 1, stride_a[0] = stride_b[0] = item, r = 1;
  const int last = r - 1;
  const int64_t n = size[last];
  const int dense = (stride_a[last] != 0) | (stride_b[last] != 0) << 1;
  walle_stop_watch watch;
  if (n >= 32 || r == 1) {
    for (int64_t done = 0;;) {
      watch.work(n);
      row(dst, a, b, n, dense);
      dst += n * item_dst;
      if ((done += n) >= total) return;
      int i = last - 1;
      for (;; --i) {
        a += stride_a[i], b += stride_b[i];
        if (++at[i] < size[i]) break;
        a -= stride_a[i] * size[i], b -= stride_b[i] * size[i];
        at[i] = 0;
      }
    }
  }
  constexpr int64_t kRoom = 4096;  // bytes: short rows are collected into blocks of it
  alignas(64) char room[2][kRoom];
  const int64_t rows = kRoom / (n * item);
  for (int64_t left = total / n; left > 0;) {
    const int64_t some = left < rows ? left : rows;
    watch.work(some * n);
    for (int64_t k = 0; k < some; ++k) {
      char *to_a = room[0] + k * n * item, *to_b = room[1] + k * n * item;
      if (dense & 1) memcpy(to_a, a, size_t(n * item)); else repeat(to_a, a, n, item);
      if (dense & 2) memcpy(to_b, b, size_t(n * item)); else repeat(to_b, b, n, item);
      for (int i = last - 1; i >= 0; --i) {
        a += stride_a[i], b += stride_b[i];
        if (++at[i] < size[i]) break;
        a -= stride_a[i] * size[i], b -= stride_b[i] * size[i];
        at[i] = 0;
      }
    }
    row(dst, room[0], room[1], some * n, 3);
    dst += some * n * item_dst;
    left -= some;
  }
}

template <class T> inline void copy_line(char* d, int64_t sd, const char* s, int64_t ss, int64_t n) {
  for (int64_t i = 0; i < n; ++i) memcpy(d + i * sd, s + i * ss, sizeof(T));
}
struct Pair { uint64_t low, high; };
inline void copy_line(char* d, int64_t sd, const char* s, int64_t ss, int64_t n, int64_t item) {
  if (sd == item && ss == item) return void(memcpy(d, s, size_t(n * item)));
  switch (item) {
    case 1: return copy_line<uint8_t>(d, sd, s, ss, n);
    case 2: return copy_line<uint16_t>(d, sd, s, ss, n);
    case 4: return copy_line<uint32_t>(d, sd, s, ss, n);
    case 8: return copy_line<uint64_t>(d, sd, s, ss, n);
    default: return copy_line<Pair>(d, sd, s, ss, n);
  }
}

// 16 x 16 elements of 4 bytes, mirrored at the diagonal, by squares of 4 x 4 in registers.
typedef uint32_t Words __attribute__((vector_size(16)));
inline void transpose_square(char* d, int64_t sd, const char* s, int64_t ss) {
  for (int64_t y = 0; y < 16; y += 4)
    for (int64_t x = 0; x < 16; x += 4) {
      Words a, b, e, f;
      const char* from = s + y * ss + x * 4;
      memcpy(&a, from, 16), memcpy(&b, from + ss, 16), memcpy(&e, from + 2 * ss, 16), memcpy(&f, from + 3 * ss, 16);
      const Words p = {a[0], b[0], a[1], b[1]}, q = {a[2], b[2], a[3], b[3]};
      const Words r = {e[0], f[0], e[1], f[1]}, t = {e[2], f[2], e[3], f[3]};
      const Words made[4] = {{p[0], p[1], r[0], r[1]}, {p[2], p[3], r[2], r[3]}, {q[0], q[1], t[0], t[1]}, {q[2], q[3], t[2], t[3]}};
      for (int k = 0; k < 4; ++k) memcpy(d + (x + k) * sd + y * 4, &made[k], 16);
    }
}

// Copies between two strided views of `sizes`; strides may be 0 (source) or negative. The views do not overlap.
inline void copy_strided(char* d, const int64_t* sd, const char* s, const int64_t* ss, int rank, const int64_t* sizes,
                         int64_t item) {
  int64_t size[kMaxRank], to[kMaxRank], from[kMaxRank], at[kMaxRank] = {0}, total = 1;
  int r = 0;
  for (int i = 0; i < rank; ++i) {
    total *= sizes[i];
    if (sizes[i] == 1) continue;
    if (r && to[r - 1] == sizes[i] * sd[i] && from[r - 1] == sizes[i] * ss[i]) {
      size[r - 1] *= sizes[i];
    } else {
      size[r++] = sizes[i];
    }
    to[r - 1] = sd[i], from[r - 1] = ss[i];
  }
  if (total == 0) return;
  if (r == 0) return void(memcpy(d, s, size_t(item)));
  walle_stop_watch watch;
  const int last = r - 1;
  const int64_t n = size[last];
  // A transposition: squares of 16 x 16, so that the lines that it reads and those that it writes both stay in the cache.
  if (r >= 2 && to[last] == item && from[last] != item && from[last] != 0 && from[last - 1] == item) {
    const int64_t rows = size[last - 1];
    for (;;) {
      for (int64_t i = 0; i < rows; i += 16, watch.work(16 * n))
        for (int64_t j = 0; j < n; j += 16) {
          const int64_t wide = n - j < 16 ? n - j : 16;
          if (item == 4 && wide == 16 && i + 16 <= rows) {
            transpose_square(d + i * to[last - 1] + j * 4, to[last - 1], s + i * 4 + j * from[last], from[last]);
            continue;
          }
          for (int64_t k = i; k < rows && k < i + 16; ++k)
            copy_line(d + k * to[last - 1] + j * item, item, s + k * item + j * from[last], from[last], wide, item);
        }
      int i = last - 2;
      for (; i >= 0; --i) {
        d += to[i], s += from[i];
        if (++at[i] < size[i]) break;
        d -= to[i] * size[i], s -= from[i] * size[i];
        at[i] = 0;
      }
      if (i < 0) return;
    }
  }
  for (;;) {
    watch.work(n);
    copy_line(d, to[last], s, from[last], n, item);
    int i = last - 1;
    for (; i >= 0; --i) {
      d += to[i], s += from[i];
      if (++at[i] < size[i]) break;
      d -= to[i] * size[i], s -= from[i] * size[i];
      at[i] = 0;
    }
    if (i < 0) return;
  }
}

// dst[o, k, :] = src[o, index[k], :]; false if an index is out of -size..size-1. Rows of `bytes` bytes.
inline bool gather(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                   int64_t bytes) {
  for (int64_t k = 0; k < count; ++k)
    if (index[k] < -size || index[k] >= size) return false;
  walle_stop_watch watch;
  for (int64_t o = 0; o < outer; ++o, src += size * bytes)
    for (int64_t k = 0; k < count; ++k, dst += bytes) {
      watch.work(1 + bytes / 8);
      const char* from = src + (index[k] < 0 ? index[k] + size : index[k]) * bytes;
      if (bytes == 4) memcpy(dst, from, 4); else if (bytes == 8) memcpy(dst, from, 8);
      else memcpy(dst, from, size_t(bytes));
    }
  return true;
}
// dst[index[k], :] = src[k, :] (or src[0, :] if `repeat`).
inline bool scatter(char* dst, const char* src, const int64_t* index, int64_t count, int64_t size, int64_t bytes,
                    bool repeated) {
  for (int64_t k = 0; k < count; ++k)
    if (index[k] < -size || index[k] >= size) return false;
  for (int64_t k = 0; k < count; ++k)
    memcpy(dst + (index[k] < 0 ? index[k] + size : index[k]) * bytes, src + (repeated ? 0 : k * bytes), size_t(bytes));
  return true;
}
// dst[o, k, i] = src[o, index[o, k, i], i], elements of `item` bytes.
inline bool gather_along(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                         int64_t inner, int64_t item) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < count; ++k)
      for (int64_t i = 0; i < inner; ++i, ++index, dst += item) {
        if (*index < -size || *index >= size) return false;
        memcpy(dst, src + ((o * size + (*index < 0 ? *index + size : *index)) * inner + i) * item, size_t(item));
      }
  return true;
}

template <class T> inline void select_of(char* d, const uint8_t* c, const char* p, const char* q, int64_t n) {
  T* to = reinterpret_cast<T*>(d);
  const T *x = reinterpret_cast<const T*>(p), *y = reinterpret_cast<const T*>(q);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = c[i] ? x[i] : y[i];
}
// dst = c ? p : q, dense, elements of `item` bytes.
inline void select(char* d, const uint8_t* c, const char* p, const char* q, int64_t n, int64_t item) {
  switch (item) {
    case 1: return select_of<uint8_t>(d, c, p, q, n);
    case 2: return select_of<uint16_t>(d, c, p, q, n);
    case 4: return select_of<uint32_t>(d, c, p, q, n);
    case 8: return select_of<uint64_t>(d, c, p, q, n);
    default:
      for (int64_t i = 0; i < n; ++i) memcpy(d + i * item, (c[i] ? p : q) + i * item, size_t(item));
  }
}

}}  // namespace walle::matrix
#endif
