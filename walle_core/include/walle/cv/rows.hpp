// Rows of an image with what a border puts beside them, as filters read them.
#ifndef WALLE_CV_ROWS_HPP
#define WALLE_CV_ROWS_HPP

namespace walle { namespace cv { namespace {

// n elements of any depth from `p` on as W, and W stored as any depth: what functions for every pair of types go through.
template <class W> struct Fetch {
  template <class T> struct From {
    static int run(const char* p, W* to, int64_t n) {
      const T* s = reinterpret_cast<const T*>(p);
      for (int64_t i = 0; i < n; ++i) to[i] = W(s[i]);
      return OK;
    }
  };
};
template <class W> inline void fetch(int depth, const char* p, W* to, int64_t n) { std::memcpy(to, p, n * sizeof(W)); }
template <> inline void fetch<float>(int depth, const char* p, float* to, int64_t n) { by_depth<Fetch<float>::From>(depth, p, to, n); }
template <> inline void fetch<double>(int depth, const char* p, double* to, int64_t n) { by_depth<Fetch<double>::From>(depth, p, to, n); }
template <class W> struct Store {
  template <class T> struct Into {
    static int run(const W* s, char* p, int64_t n) {
      T* d = reinterpret_cast<T*>(p);
      for (int64_t i = 0; i < n; ++i) d[i] = To<T>::of(s[i]);
      return OK;
    }
  };
};
template <class W> inline void store(int depth, const W* s, char* p, int64_t n) { by_depth<Store<W>::template Into>(depth, s, p, n); }
inline bool needs_double(const Image& a, const Image& b) { return a.depth == F64 || b.depth == F64 || a.depth == S32 || b.depth == S32; }

// Where `taps` pixels, the one under the anchor among them, end at each pixel of a row.
struct Columns {
  Scratch<int64_t> beside;  // for each pixel left of the row, then right of it: where it reads, or -1
  int64_t left, right;
  Columns(int64_t w, int taps, int anchor, int border) : beside(taps), left(anchor), right(taps - 1 - anchor) {
    if (!beside) return;
    for (int64_t i = 0; i < left; ++i) beside[i] = border_index(i - left, w, border);
    for (int64_t i = 0; i < right; ++i) beside[left + i] = border_index(w + i, w, border);
  }
  template <class T> void pad(const Image& s, int64_t y, T* to, const T* constant) const {
    const int64_t c = s.c;
    T* from = to + left * c;
    fetch<T>(s.depth, row<char>(s, y), from, s.w * c);
    for (int64_t i = 0; i < left; ++i)
      for (int64_t k = 0; k < c; ++k) to[i * c + k] = beside[i] < 0 ? constant[k] : from[beside[i] * c + k];
    T* end = to + (left + s.w) * c;
    for (int64_t i = 0; i < right; ++i)
      for (int64_t k = 0; k < c; ++k) end[i * c + k] = beside[left + i] < 0 ? constant[k] : from[beside[left + i] * c + k];
  }
};

const int MOST_CHANNELS = 512;
template <class T> struct Constant {
  T v[MOST_CHANNELS];
  explicit Constant(T all) { for (T& x : v) x = all; }
};

// One padded row at a time; null where all of it is the constant.
template <class T> struct PaddedRow {
  const Image& s;
  Columns columns;
  Constant<T> constant;
  Scratch<T> data;
  int border;
  PaddedRow(const Image& image, int taps, int anchor, int kind, T value)
      : s(image), columns(image.w, taps, anchor, kind), constant(value), data((image.w + taps) * image.c), border(kind) {}
  explicit operator bool() const { return columns.beside && data; }
  const T* of(int64_t y) {
    y = border_index(y, s.h, border);
    if (y < 0) return nullptr;
    columns.pad(s, y, data.p, constant.v);
    return data.p;
  }
};

// The last `count` padded rows by their place before borders: rows must be asked for in ascending windows.
template <class T> struct PaddedRing {
  const Image& s;
  Columns columns;
  Constant<T> constant;
  int64_t length;
  Scratch<T> data;
  Scratch<int64_t> held;
  int count, border;
  PaddedRing(const Image& image, int taps, int anchor, int rows, int kind, T value)
      : s(image), columns(image.w, taps, anchor, kind), constant(value), length((image.w + taps) * image.c + 64),
        data(length * rows), held(rows), count(rows), border(kind) {
    if (held) for (int i = 0; i < rows; ++i) held[i] = INT64_MIN;
  }
  explicit operator bool() const { return columns.beside && data && held; }
  const T* of(int64_t y) {
    const int64_t slot = ((y % count) + count) % count;
    T* to = data.p + slot * length;
    if (held[slot] == y) return to;
    held[slot] = y;
    const int64_t from = border_index(y, s.h, border);
    if (from >= 0) columns.pad(s, from, to, constant.v);
    else for (int64_t i = 0; i < (s.w + columns.left + columns.right) * s.c; i += s.c) for (int64_t k = 0; k < s.c; ++k) to[i + k] = constant.v[k];
    return to;
  }
};
}}}  // namespace
#endif
