// Stable orders of any element type through unsigned keys: NaN comes last, -0 equals 0. A merge sort where there are few
// elements, a radix sort of the bytes that differ where there are many (Knuth volume 3, 5.2.4 and 5.2.5).
#ifndef WALLE_MATRIX_SORT_HPP
#define WALLE_MATRIX_SORT_HPP
#include <algorithm>
#include <cstring>
#include "walle/matrix/number.hpp"
#include "walle/stop.hpp"

namespace walle { namespace matrix { namespace {

enum class Kind { Unsigned, Signed, Float };

template <class K>
struct Entry {
  K key;
  uint32_t at;
};

// Order-preserving key of the element's bits.
template <class K, Kind kind>
inline K sort_key(K bits) {
  constexpr K top = K(K(1) << (8 * sizeof(K) - 1));
  if (kind == Kind::Unsigned) return bits;
  if (kind == Kind::Signed) return K(bits ^ top);
  const K most = K(sizeof(K) == 8 ? 0x7ff0000000000000ull : 0x7f800000u);
  if (K(bits & K(~top)) > most) return K(~K(0));
  if (bits == top) bits = 0;
  return K(bits & top ? ~bits : bits | top);
}

template <class K>
inline void sort_entries(Entry<K>* a, Entry<K>* other, int64_t n) {
  if (n < 256) {
    std::stable_sort(a, a + n, [](const Entry<K>& x, const Entry<K>& y) { return x.key < y.key; });
    return;
  }
  K differ = 0;
  for (int64_t i = 1; i < n; ++i) differ = K(differ | (a[i].key ^ a[0].key));
  Entry<K>*from = a, *to = other;
  for (int shift = 0; shift < int(8 * sizeof(K)); shift += 8) {
    if (!((differ >> shift) & 0xff)) continue;
    int64_t counts[256] = {};
    walle_in_pieces(n, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) ++counts[(from[i].key >> shift) & 0xff];
    });
    int64_t sum = 0;
    for (int64_t& c : counts) {
      const int64_t here = c;
      c = sum;
      sum += here;
    }
    walle_in_pieces(n, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) to[counts[(from[i].key >> shift) & 0xff]++] = from[i];
    });
    std::swap(from, to);
  }
  if (from != a) std::copy(from, from + n, a);
}

// Sorts [outer][n][inner] along its middle axis; order (int64, positions) or values (may be null) receive the result.
// n < 2^32. Descending keeps the order of equal elements as well, and puts NaN first.
template <class K, Kind kind>
inline void sort_axis(const K* in, int64_t* order, K* values, int64_t outer, int64_t n, int64_t inner, bool descending) {
  walle_stop_watch watch;
  Room<Entry<K>> a(n), other(n < 256 ? 0 : n);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i, watch.work(n)) {
      const K* x = in + o * n * inner + i;
      for (int64_t k = 0; k < n; ++k) {
        const K key = sort_key<K, kind>(x[k * inner]);
        a[k] = {descending ? K(~key) : key, uint32_t(k)};
      }
      sort_entries(a.data(), other.data(), n);
      for (int64_t k = 0; k < n; ++k) {
        if (order) order[(o * n + k) * inner + i] = a[k].at;
        if (values) values[(o * n + k) * inner + i] = x[int64_t(a[k].at) * inner];
      }
    }
}

// Positions in the sorted x[n] (through `sorter` unless null) where each of v[m] would go in.
template <class K, Kind kind>
inline void search_sorted(const K* x, const int64_t* sorter, int64_t n, const K* v, int64_t m, bool right, int64_t* out) {
  walle_stop_watch watch;
  for (int64_t i = 0; i < m; ++i, watch.work(16)) {  // steps of a search
    const K key = sort_key<K, kind>(v[i]);
    int64_t low = 0, high = n;
    while (low < high) {
      const int64_t mid = low + (high - low) / 2;
      const K here = sort_key<K, kind>(x[sorter ? sorter[mid] : mid]);
      if (right ? here <= key : here < key) low = mid + 1;
      else high = mid;
    }
    out[i] = low;
  }
}

// starts[i] = 1 where element order[i] differs from element order[i - 1]; NaN differs from everything, as == says.
template <class K, Kind kind>
inline void mark_starts(const K* x, const int64_t* order, int64_t n, uint8_t* starts, bool add) {
  walle_stop_watch watch;
  for (int64_t i = 0; i < n; ++i, watch.work(1)) {
    bool differs = i == 0;
    if (i) {
      const K a = sort_key<K, kind>(x[order[i]]), b = sort_key<K, kind>(x[order[i - 1]]);
      differs = a != b || (kind == Kind::Float && a == K(~K(0)));
    }
    starts[i] = differs || (add && starts[i]);
  }
}

// Position of the first largest (or smallest) element of [outer][n][inner] along the middle axis, n >= 1; the first NaN
// where there is one.
template <class K, Kind kind>
inline void extreme_axis(const K* in, int64_t* out, int64_t outer, int64_t n, int64_t inner, bool smallest) {
  const K flip = smallest ? K(~K(0)) : K(0);
  const auto rank = [&](K bits) {  // NaN above all, either way
    const K key = sort_key<K, kind>(bits);
    return kind == Kind::Float && key == K(~K(0)) ? key : K(key ^ flip);
  };
  walle_stop_watch watch;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const K* x = in + o * n * inner + i;
      int64_t at = 0;
      K best = rank(x[0]);
      for (int64_t k0 = 1; k0 < n || k0 == 1; k0 += 4096) {
        watch.work(n - k0 < 4096 ? n - k0 + 1 : 4096);
        for (int64_t k = k0; k < n && k < k0 + 4096; ++k) {
          const K here = rank(x[k * inner]);
          if (here > best) best = here, at = k;
        }
      }
      out[o * inner + i] = at;
    }
}

}}}  // namespace walle::matrix::(anonymous)
#endif
