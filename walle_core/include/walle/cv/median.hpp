// Medians. Windows of 3 and 5 pixels: columns are sorted once for all windows that have them, then merged (after Adams 2021,
// "Fast median filters using separable sorting networks"); wider ones of bytes by a histogram that moves along the row.
#ifndef WALLE_CV_MEDIAN_HPP
#define WALLE_CV_MEDIAN_HPP
#define WALLE_CV_MEDIAN_ROWS {"median", median},

namespace walle { namespace cv { namespace {

template <class T> inline void order(T& a, T& b) {
  const T low = b < a ? b : a, high = b < a ? a : b;
  a = low, b = high;
}
template <class T> inline T middle_of(T a, T b, T c) {
  order(a, b);
  return most(a, least(b, c));
}
template <class T> inline void sort5(T& a, T& b, T& c, T& d, T& e) {
  order(a, b), order(d, e), order(c, e), order(c, d), order(b, e), order(a, d), order(a, c), order(b, d), order(b, c);
}
// Batcher's odd-even merge of two sorted halves; the result is sorted in the order of the arguments.
template <class T> inline void merge2(T& a, T& b, T& c, T& d) { order(a, c), order(b, d), order(b, c); }
template <class T> inline void merge3(T& a, T& b, T& c, T& d, T& e, T& f) {
  merge2(a, c, d, f), order(b, e), order(b, c), order(d, e);
}
template <class T> inline void merge5(T* v) {
  merge3(v[0], v[2], v[4], v[5], v[7], v[9]), merge2(v[1], v[3], v[6], v[8]);
  order(v[1], v[2]), order(v[3], v[4]), order(v[5], v[6]), order(v[7], v[8]);
}

// Rows of a tile at a fixed distance: with it the compiler needs one register for all of them.
const int64_t TILE = 1024, ROOM = TILE + 4 * MOST_CHANNELS + 64;

// The median of 3 × 3 for n <= TILE elements; `w` holds 3 rows of ROOM.
template <class T> inline void tile_of_3(const T* const* s, T* w, T* o, int64_t n, int64_t c) {
  const T *top = s[0], *here = s[1], *below = s[2];
#pragma GCC ivdep
  for (int64_t i = 0; i < n + 2 * c; ++i) {
    T x = top[i], y = here[i], z = below[i];
    order(x, y), order(y, z), order(x, y);
    w[i] = x, w[ROOM + i] = y, w[2 * ROOM + i] = z;
  }
  const T *q = w + c, *r = w + 2 * c;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T low = most(most(w[i], q[i]), r[i]), high = least(least(w[2 * ROOM + i], q[2 * ROOM + i]), r[2 * ROOM + i]);
    o[i] = middle_of(low, middle_of(w[ROOM + i], q[ROOM + i], r[ROOM + i]), high);
  }
}
// The same of 5 × 5; `w` holds 15 rows: sorted columns, then sorted pairs of neighbouring columns.
template <class T> inline void tile_of_5(const T* const* s, T* w, T* o, int64_t n, int64_t c) {
  const T *s0 = s[0], *s1 = s[1], *s2 = s[2], *s3 = s[3], *s4 = s[4];
#pragma GCC ivdep
  for (int64_t i = 0; i < n + 4 * c; ++i) {
    T a = s0[i], b = s1[i], m = s2[i], d = s3[i], e = s4[i];
    sort5(a, b, m, d, e);
    w[i] = a, w[ROOM + i] = b, w[2 * ROOM + i] = m, w[3 * ROOM + i] = d, w[4 * ROOM + i] = e;
  }
  const T* beside = w + c;
  T* pairs = w + 5 * ROOM;
#pragma GCC ivdep
  for (int64_t i = 0; i < n + 3 * c; ++i) {
    T v[10];
    for (int k = 0; k < 5; ++k) v[k] = w[k * ROOM + i], v[5 + k] = beside[k * ROOM + i];
    merge5(v);
    for (int k = 0; k < 10; ++k) pairs[k * ROOM + i] = v[k];
  }
  const T *column = w + 2 * c, *right = pairs + 3 * c;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    // Of the 20 in both pairs the median of all 25 is one of those with the ranks 7 to 12: the three greatest of the
    // lower ten and the three least of the upper ten, both of which are bitonic.
    T low[10], high[10];
    for (int k = 0; k < 10; ++k) {
      const T a = pairs[k * ROOM + i], b = right[(9 - k) * ROOM + i];
      low[k] = least(a, b), high[k] = most(a, b);
    }
    for (int k = 0; k < 5; ++k) low[k] = most(low[k], low[k + 5]), high[k] = least(high[k], high[k + 5]);
    sort5(low[0], low[1], low[2], low[3], low[4]);
    sort5(high[0], high[1], high[2], high[3], high[4]);
    // The sixth of these six and the five of the column in the middle.
    T found = high[2];
    found = least(found, most(high[1], column[i]));
    found = least(found, most(high[0], column[ROOM + i]));
    found = least(found, most(low[4], column[2 * ROOM + i]));
    found = least(found, most(low[3], column[3 * ROOM + i]));
    o[i] = least(found, most(low[2], column[4 * ROOM + i]));
  }
}
template <class T, int K> inline int small_median(const Image& s, const Image& d) {
  PaddedRing<T> ring(s, K, K / 2, K, REPLICATE, T(0));
  Scratch<T> work(ROOM * (K == 3 ? 3 : 15));
  if (!ring || !work) return NO_MEMORY;
  const int64_t n = s.w * s.c;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const T* rows[K];
    for (int t = 0; t < K; ++t) rows[t] = ring.of(y - K / 2 + t);
    for (int64_t x = 0; x < n; x += TILE) {
      const int64_t some = least(TILE, n - x);
      if (K == 3) tile_of_3(rows, work.p, row<T>(d, y) + x, some, s.c);
      else tile_of_5(rows, work.p, row<T>(d, y) + x, some, s.c);
      for (int t = 0; t < K; ++t) rows[t] += TILE;
    }
  }
  return OK;
}
// Bytes under any window: a histogram that moves along the row.
inline int wide_median(const Image& s, const Image& d, int k) {
  PaddedRing<uint8_t> ring(s, k, k / 2, k, REPLICATE, uint8_t(0));
  Scratch<const uint8_t*> rows(k);
  if (!ring || !rows) return NO_MEMORY;
  const int middle = k * k / 2;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    for (int t = 0; t < k; ++t) rows[t] = ring.of(y - k / 2 + t);
    for (int64_t c = 0; c < s.c; ++c) {
      int count[256] = {0}, below = 0, at = 0;  // below: how many are less than at
      for (int t = 0; t < k; ++t) for (int x = 0; x < k; ++x) ++count[rows[t][x * s.c + c]];
      for (int64_t x = 0;; ++x) {
        while (below > middle) below -= count[--at];
        while (below + count[at] <= middle) below += count[at++];
        row<uint8_t>(d, y)[x * s.c + c] = uint8_t(at);
        if (x + 1 == s.w) break;
        for (int t = 0; t < k; ++t) {
          const int old = rows[t][x * s.c + c], fresh = rows[t][(x + k) * s.c + c];
          --count[old], ++count[fresh];
          below += (fresh < at) - (old < at);
        }
      }
    }
  }
  return OK;
}
template <class T> inline int any_median(const Image& s, const Image& d, int k) {
  return k == 3 ? small_median<T, 3>(s, d) : k == 5 ? small_median<T, 5>(s, d) : BAD_TYPE;
}
// args: size, odd
inline int median(const Image* in, int, const Image* out, const double* args) {
  const int k = int(args[0]);
  switch (in[0].depth) {
    case U8: return k > 5 ? wide_median(in[0], out[0], k) : any_median<uint8_t>(in[0], out[0], k);
    case U16: return any_median<uint16_t>(in[0], out[0], k);
    case S16: return any_median<int16_t>(in[0], out[0], k);
    case F32: return any_median<float>(in[0], out[0], k);
    default: return BAD_TYPE;
  }
}
}}}  // namespace
#endif
