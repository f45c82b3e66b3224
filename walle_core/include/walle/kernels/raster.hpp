// Family raster: copies strided regions, the one kernel behind every operator that only moves elements.
//
// op: bytes per element. buf: dst, origin 0, origin 1, ...; none overlaps dst.
// arg: regions, then per region: index in buf of its source, src offset, dst offset, size[3], src stride[3],
// dst stride[3], in elements; dst[offset + i*ds0 + j*ds1 + k*ds2] = src[offset + i*ss0 + j*ss1 + k*ss2].
// Units: rows (i, j), counted over the regions in order: the sum of size[0]*size[1].
#ifndef WALLE_KERNELS_RASTER_HPP
#define WALLE_KERNELS_RASTER_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/copy.hpp"

namespace walle { namespace WALLE_ISA { namespace {

struct Bytes16 { uint64_t half[2]; };

struct Box {
  int64_t size[3], ss[3], ds[3];

  void swap(int a, int b) {
    const int64_t n = size[a], s = ss[a], d = ds[a];
    size[a] = size[b], ss[a] = ss[b], ds[a] = ds[b];
    size[b] = n, ss[b] = s, ds[b] = d;
  }
  bool belongs_inside(int a, int b) const { return size[a] != 1 && (size[b] == 1 || ds[a] < ds[b]); }
  bool fuse(int a) {  // axis a with its inner neighbour, if both strides go on evenly; axis 0 becomes free
    const int b = a + 1;
    if (size[a] == 1 || ds[a] != ds[b] * size[b] || ss[a] != ss[b] * size[b]) return false;
    size[b] *= size[a];
    size[a] = 1;
    if (a == 1) swap(0, 1);
    return true;
  }
  // Axes of size 1 first, then by falling destination stride; even neighbours are fused.
  void normalise() {
    if (belongs_inside(1, 2)) swap(1, 2);
    if (belongs_inside(0, 1)) swap(0, 1);
    if (belongs_inside(1, 2)) swap(1, 2);
    fuse(fuse(1) ? 1 : 0);
  }
};

// d[i*M + m] = s[m*ss + i] and its inverse, M known: the compiler makes shuffles of it.
template <class T, int M> void interleave_dense(T* __restrict d, const T* __restrict s, int64_t ss, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int m = 0; m < M; ++m) d[i * M + m] = s[m * ss + i];
}
template <class T, int M> void separate_dense(T* __restrict d, int64_t ds, const T* __restrict s, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int m = 0; m < M; ++m) d[m * ds + i] = s[i * M + m];
}

// A block of at most B x B elements: d[i*ds + j] = s[j*ss + i], i < rows, j < columns.
template <class T> struct Transpose {
  static constexpr int B = sizeof(T) >= 8 ? 8 : 16;
  static void run(T* __restrict d, int64_t ds, const T* __restrict s, int64_t ss, int64_t rows, int64_t columns) {
    if (rows == B && columns == B) {
      for (int i = 0; i < B; ++i)
        for (int j = 0; j < B; ++j) d[i * ds + j] = s[j * ss + i];
      return;
    }
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) d[i * ds + j] = s[j * ss + i];
  }
};
#if WALLE_LANES > 1
template <> struct Transpose<uint32_t> {
  static constexpr int B = F32::N;
  static void run(uint32_t* dst, int64_t ds, const uint32_t* src, int64_t ss, int64_t rows, int64_t columns) {
    float* d = reinterpret_cast<float*>(dst);
    const float* s = reinterpret_cast<const float*>(src);
    F32 r[B];
    if (rows == B && columns == B) {
      for (int j = 0; j < B; ++j) r[j] = F32::load(s + j * ss);
      transpose(r);
      for (int i = 0; i < B; ++i) r[i].store(d + i * ds);
      return;
    }
    for (int j = 0; j < B; ++j) r[j] = j < columns ? F32::load(s + j * ss, size_t(rows)) : F32::set(0.0f);
    transpose(r);
    for (int i = 0; i < B; ++i)
      if (i < rows) r[i].store(d + i * ds, size_t(columns));
  }
};
#endif

// d[i*ds + j] = s[j*ss + i] for i < rows, j < columns.
template <class T> void transpose_plane(T* d, int64_t ds, const T* s, int64_t ss, int64_t rows, int64_t columns) {
  if (columns <= 4 && ds == columns) {
    if (columns == 2) return interleave_dense<T, 2>(d, s, ss, rows);
    if (columns == 3) return interleave_dense<T, 3>(d, s, ss, rows);
    if (columns == 4) return interleave_dense<T, 4>(d, s, ss, rows);
  }
  if (rows <= 4 && ss == rows) {
    if (rows == 2) return separate_dense<T, 2>(d, ds, s, columns);
    if (rows == 3) return separate_dense<T, 3>(d, ds, s, columns);
    if (rows == 4) return separate_dense<T, 4>(d, ds, s, columns);
  }
  constexpr int64_t B = Transpose<T>::B, kStrip = 256;  // a strip's source lines stay cached until the next tile row
  for (int64_t j0 = 0; j0 < columns; j0 += kStrip) {
    const int64_t j1 = j0 + kStrip < columns ? j0 + kStrip : columns;
    for (int64_t i = 0; i < rows; i += B) {
      const int64_t m = rows - i < B ? rows - i : B;
      for (int64_t j = j0; j < j1; j += B)
        Transpose<T>::run(d + i * ds + j, ds, s + j * ss + i, ss, m, j1 - j < B ? j1 - j : B);
    }
  }
}

template <class T> void copy_box(T* d, const T* s, Box b) {
  b.normalise();
  const int64_t n0 = b.size[0], n1 = b.size[1], n2 = b.size[2];
  if (b.ds[2] == 1 && b.ss[2] == 1) {
    for (int64_t i = 0; i < n0; ++i)
      for (int64_t j = 0; j < n1; ++j)
        copy_run(d + i * b.ds[0] + j * b.ds[1], s + i * b.ss[0] + j * b.ss[1], size_t(n2) * sizeof(T));
    return;
  }
  const int across = b.ss[1] == 1 && n1 > 1 ? 1 : b.ss[0] == 1 && n0 > 1 ? 0 : -1;
  if (b.ds[2] == 1 && across >= 0 && n2 > 1) {
    const int other = 1 - across;
    for (int64_t i = 0; i < b.size[other]; ++i)
      transpose_plane(d + i * b.ds[other], b.ds[across], s + i * b.ss[other], b.ss[2], b.size[across], n2);
    return;
  }
  const int64_t ss = b.ss[2], ds = b.ds[2];
  for (int64_t i = 0; i < n0; ++i) {
    for (int64_t j = 0; j < n1; ++j) {
      T* __restrict to = d + i * b.ds[0] + j * b.ds[1];
      const T* __restrict from = s + i * b.ss[0] + j * b.ss[1];
      if (ds == 1 && ss == 0) {
        const T value = *from;
        for (int64_t k = 0; k < n2; ++k) to[k] = value;
      } else if (ds == 1 && ss == 2) {
        for (int64_t k = 0; k < n2; ++k) to[k] = from[2 * k];
      } else if (ds == 1) {
        for (int64_t k = 0; k < n2; ++k) to[k] = from[k * ss];
      } else {
        for (int64_t k = 0; k < n2; ++k) to[k * ds] = from[k * ss];
      }
    }
  }
}

template <class T> void raster(const walle_call* c) {
  const int64_t regions = c->arg[0];
  const int64_t* r = c->arg + 1;
  int64_t first = 0;
  for (int64_t k = 0; k < regions && first < c->end; ++k, r += 12) {
    const int64_t *size = r + 3, *ss = r + 6, *ds = r + 9;
    const int64_t rows = size[0] * size[1];
    int64_t at = c->begin > first ? c->begin - first : 0;
    const int64_t stop = c->end - first < rows ? c->end - first : rows;
    T* d = static_cast<T*>(c->buf[0]) + r[2];
    const T* s = static_cast<const T*>(c->buf[r[0]]) + r[1];
    while (at < stop) {  // a part of one plane, whole planes, a part of the last one
      const int64_t i = at / size[1], j = at % size[1];
      const int64_t whole = j == 0 ? (stop - at) / size[1] : 0;
      const int64_t left = size[1] - j, part = whole ? size[1] : left < stop - at ? left : stop - at;
      const Box box = {{whole ? whole : 1, part, size[2]}, {ss[0], ss[1], ss[2]}, {ds[0], ds[1], ds[2]}};
      copy_box(d + i * ds[0] + j * ds[1], s + i * ss[0] + j * ss[1], box);
      at += box.size[0] * part;
    }
    first += rows;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_RASTER_ROWS                                                                                   \
  {"raster", "1", "", raster<uint8_t>}, {"raster", "2", "", raster<uint16_t>},                              \
  {"raster", "4", "", raster<uint32_t>}, {"raster", "8", "", raster<uint64_t>}, {"raster", "16", "", raster<Bytes16>},
#endif
