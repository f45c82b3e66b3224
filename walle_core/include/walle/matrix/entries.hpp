// Typed entries of transforms, orders and products, by dtype number as walle_core.matrix.dtypes counts them.
#ifndef WALLE_MATRIX_ENTRIES_HPP
#define WALLE_MATRIX_ENTRIES_HPP
#include <type_traits>
#include "walle/guarded.hpp"
#include "walle/matrix/fft_axis.hpp"
#include "walle/matrix/product.hpp"
#include "walle/matrix/sort.hpp"
#include "walle/matrix/types.hpp"

namespace walle { namespace matrix { namespace {

// kind: 0 complex to complex, 1 real to complex, 2 complex to real; `wide`: double.
inline int64_t transform(int kind, bool wide, const void* in, void* out, int64_t outer, int64_t length, int64_t n,
                      int64_t inner, bool flag, double factor) {
  const auto run = [&](auto zero) {
    using R = decltype(zero);
    using C = Complex<R>;
    if (kind == 0) fft_axis<R>(static_cast<const C*>(in), static_cast<C*>(out), outer, length, n, inner, flag, factor);
    if (kind == 1) rfft_axis<R>(static_cast<const R*>(in), static_cast<C*>(out), outer, length, n, inner, flag, factor);
    if (kind == 2) irfft_axis<R>(static_cast<const C*>(in), static_cast<R*>(out), outer, length, n, inner, flag, factor);
  };
  return guarded([&] { return wide ? run(0.0) : run(0.0f), -1; });
}

template <class K, Kind k> struct Keys { using Bits = K; static constexpr Kind kind = k; };

// Calls with the key type of a real dtype.
template <class Call>
inline void by_keys(int code, Call call) {
  switch (code) {
    case kBool: case kU8: return call(Keys<uint8_t, Kind::Unsigned>());
    case kI8: return call(Keys<uint8_t, Kind::Signed>());
    case kU16: return call(Keys<uint16_t, Kind::Unsigned>());
    case kI16: return call(Keys<uint16_t, Kind::Signed>());
    case kU32: return call(Keys<uint32_t, Kind::Unsigned>());
    case kI32: return call(Keys<uint32_t, Kind::Signed>());
    case kU64: return call(Keys<uint64_t, Kind::Unsigned>());
    case kI64: return call(Keys<uint64_t, Kind::Signed>());
    case kF32: return call(Keys<uint32_t, Kind::Float>());
    default: return call(Keys<uint64_t, Kind::Float>());
  }
}

inline int64_t sort(int code, const void* in, int64_t* order, void* values, int64_t outer, int64_t n, int64_t inner, bool descending) {
  return guarded([&] { return by_keys(code, [&](auto keys) {
    using K = typename decltype(keys)::Bits;
    sort_axis<K, decltype(keys)::kind>(static_cast<const K*>(in), order, static_cast<K*>(values), outer, n, inner, descending);
  }), -1; });
}
inline int64_t search(int code, const void* x, const int64_t* sorter, int64_t n, const void* v, int64_t m, bool right, int64_t* out) {
  return guarded([&] { return by_keys(code, [&](auto keys) {
    using K = typename decltype(keys)::Bits;
    search_sorted<K, decltype(keys)::kind>(static_cast<const K*>(x), sorter, n, static_cast<const K*>(v), m, right, out);
  }), -1; });
}
inline int64_t starts(int code, const void* x, const int64_t* order, int64_t n, uint8_t* out, bool add) {
  return guarded([&] { return by_keys(code, [&](auto keys) {
    using K = typename decltype(keys)::Bits;
    mark_starts<K, decltype(keys)::kind>(static_cast<const K*>(x), order, n, out, add);
  }), -1; });
}

inline int64_t extreme(int code, const void* in, int64_t* out, int64_t outer, int64_t n, int64_t inner, bool smallest) {
  return guarded([&] { return by_keys(code, [&](auto keys) {
    using K = typename decltype(keys)::Bits;
    extreme_axis<K, decltype(keys)::kind>(static_cast<const K*>(in), out, outer, n, inner, smallest);
  }), -1; });
}

// Calls with a zero of the type in which a dtype multiplies: signed integers wrap as unsigned ones.
template <class Call>
inline bool by_number(int code, Call call) {
  switch (code) {
    case kI8: case kU8: return call(uint8_t());
    case kI16: case kU16: return call(uint16_t());
    case kI32: case kU32: return call(uint32_t());
    case kI64: case kU64: return call(uint64_t());
    case kF32: return call(0.0f);
    case kF64: return call(0.0);
    case kC64: return call(Complex<float>(0));
    default: return call(Z(0));
  }
}

// Rows of a by rows of b.
inline int64_t dots(int code, const void* a, const void* b, void* out, int64_t count, int64_t k, int64_t a_step,
                    int64_t b_step, bool conj_a) {
  return guarded([&] {
    by_number(code, [&](auto zero) {
      using T = decltype(zero);
      const T *x = static_cast<const T*>(a), *y = static_cast<const T*>(b);
      T* to = static_cast<T*>(out);
      if ((!conj_a || code < kC64) && row_dots_fast(x, y, to, count, k, a_step, b_step)) return true;
      conj_a ? row_dots<T, true>(x, y, to, count, k, a_step, b_step) : row_dots<T, false>(x, y, to, count, k, a_step, b_step);
      return true;
    });
    return -1;
  });
}
// Forms of complex matrices, by number: real_form, parted, joined.
inline void reform(int form, bool wide, const void* in, void* out, int64_t rows, int64_t columns) {
  const auto run = [&](auto zero) {
    using R = decltype(zero);
    if (form == 0) real_form(static_cast<const Complex<R>*>(in), static_cast<R*>(out), rows, columns);
    if (form == 1) parted(static_cast<const Complex<R>*>(in), static_cast<R*>(out), rows, columns);
    if (form == 2) joined(static_cast<const R*>(in), static_cast<Complex<R>*>(out), rows, columns);
  };
  wide ? run(0.0) : run(0.0f);
}

// out [batch][m][n] = a b for dense matrices, of any dtype that is not complex; dims: per batch dimension its size and
// the steps of a and b in elements.
inline int64_t product(int code, const void* a, const void* b, void* out, int64_t m, int64_t n, int64_t k,
                       const int64_t* dims, int64_t rank) {
  int64_t count = 1;
  for (int64_t d = 0; d < rank; ++d) count *= dims[3 * d];
  return guarded([&]() -> int64_t { return by_number(code, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t t = 0; t < count; ++t) {
      int64_t x = 0, y = 0, left = t;
      for (int64_t d = rank - 1; d >= 0; --d) {
        x += left % dims[3 * d] * dims[3 * d + 1], y += left % dims[3 * d] * dims[3 * d + 2];
        left /= dims[3 * d];
      }
      if constexpr (!std::is_class<T>::value)
        if (!multiply(static_cast<const T*>(a) + x, static_cast<const T*>(b) + y, static_cast<T*>(out) + t * m * n, m, n, k))
          return false;
    }
    return true;
  }) ? -1 : kNoMemory; });
}

}}}  // namespace walle::matrix::(anonymous)
#endif
