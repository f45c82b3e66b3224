// Elementwise operators of one operand, and conversions between types.
#ifndef WALLE_MATRIX_UNARY_HPP
#define WALLE_MATRIX_UNARY_HPP
#include <string.h>

#include "walle/matrix/scalar_math.hpp"

namespace walle { namespace matrix { namespace {

template <class T, class R, class Op> void row1(void* dst, const void* src, int64_t n) {
  R* d = static_cast<R*>(dst);
  const T* s = static_cast<const T*>(src);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) d[i] = Op::run(s[i]);
}
template <class T> void row_copy(void* dst, const void* src, int64_t n) {
  if (dst != src) memmove(dst, src, size_t(n) * sizeof(T));
}
template <uint8_t V> void row_fill(void* dst, const void*, int64_t n) { memset(dst, V, size_t(n)); }

#define WALLE_OP1(name, R, expr) template <class T> struct name { static R run(T x) { return expr; } };
WALLE_OP1(AbsI, T, T(x < 0 ? 0u - std::make_unsigned_t<T>(x) : std::make_unsigned_t<T>(x)))
WALLE_OP1(NegI, T, T(0u - x))
WALLE_OP1(SignI, T, T((x > 0) - (x < 0)))
WALLE_OP1(SquareI, T, T(uint64_t(x) * uint64_t(x)))
WALLE_OP1(InvertI, T, T(~x))
WALLE_OP1(NotB, uint8_t, x == 0)
WALLE_OP1(AbsF, T, std::fabs(x))
WALLE_OP1(NegF, T, -x)
WALLE_OP1(SquareF, T, x * x)
WALLE_OP1(SignF, T, x > 0 ? T(1) : x < 0 ? T(-1) : x + T(0))
WALLE_OP1(RoundF, T, round_even(x))
WALLE_OP1(ReciprocalF, T, T(1) / x)
WALLE_OP1(SignBitF, uint8_t, std::signbit(x))
WALLE_OP1(NaNF, uint8_t, x != x)
WALLE_OP1(InfF, uint8_t, std::fabs(x) == std::numeric_limits<T>::infinity())
WALLE_OP1(FiniteF, uint8_t, std::fabs(x) < std::numeric_limits<T>::infinity())
WALLE_OP1(Conj, T, T(x.real(), -x.imag()))
WALLE_OP1(SquareC, T, mul(x, x))
WALLE_OP1(RoundC, T, T(round_even(x.real()), round_even(x.imag())))
WALLE_OP1(SignC, T, sign_complex(x))
WALLE_OP1(ReciprocalC, T, div(T(1), x))
WALLE_OP1(NaNC, uint8_t, x.real() != x.real() || x.imag() != x.imag())
WALLE_OP1(InfC, uint8_t, std::isinf(x.real()) || std::isinf(x.imag()))
WALLE_OP1(FiniteC, uint8_t, std::isfinite(x.real()) && std::isfinite(x.imag()))
WALLE_OP1(Expm1C, T, expm1_complex(x))
WALLE_OP1(Log1pC, T, log1p_complex(x))
WALLE_OP1(Log2C, T, std::log(x) * typename T::value_type(1.4426950408889634074))
WALLE_OP1(AbsC, typename T::value_type, std::hypot(x.real(), x.imag()))
WALLE_OP1(RealC, typename T::value_type, x.real())
WALLE_OP1(ImagC, typename T::value_type, x.imag())
#undef WALLE_OP1
// name of the operator, function of <cmath> and <complex>
#define WALLE_BOTH(OP) OP(Acos, acos) OP(Acosh, acosh) OP(Asin, asin) OP(Asinh, asinh) OP(Atan, atan)          \
  OP(Atanh, atanh) OP(Cos, cos) OP(Cosh, cosh) OP(Exp, exp) OP(Log, log) OP(Log10, log10) OP(Sin, sin)         \
  OP(Sinh, sinh) OP(Sqrt, sqrt) OP(Tan, tan) OP(Tanh, tanh)
#define WALLE_REALS(OP) OP(Ceil, ceil) OP(Expm1, expm1) OP(Floor, floor) OP(Log1p, log1p) OP(Log2, log2) \
  OP(Trunc, trunc)
#define WALLE_FN(name, fn) template <class T> struct name##M { static T run(T x) { return T(std::fn(x)); } };
WALLE_BOTH(WALLE_FN) WALLE_REALS(WALLE_FN)
#undef WALLE_FN
#define WALLE_CASE(name, fn) case k##name: return row1<T, T, name##M<T>>;

template <class T> unary_row integer1(int op) {
  using U = std::make_unsigned_t<T>;
  switch (op) {
    case kAbs: return kSignedInt<T> ? row1<T, T, AbsI<T>> : row_copy<T>;
    case kNeg: return row1<U, U, NegI<U>>;
    case kSign: return row1<T, T, SignI<T>>;
    case kSquare: return row1<U, U, SquareI<U>>;
    case kInvert: return row1<U, U, InvertI<U>>;
    case kCeil: case kFloor: case kRound: case kTrunc: case kPos: case kReal: case kConj: return row_copy<T>;
    case kIsFinite: return row_fill<1>;
    case kIsInf: case kIsNaN: return row_fill<0>;
    default: return nullptr;
  }
}
template <class T> unary_row float1(int op) {
  switch (op) {
    WALLE_BOTH(WALLE_CASE) WALLE_REALS(WALLE_CASE)
    case kAbs: return row1<T, T, AbsF<T>>;
    case kNeg: return row1<T, T, NegF<T>>;
    case kSign: return row1<T, T, SignF<T>>;
    case kSquare: return row1<T, T, SquareF<T>>;
    case kRound: return row1<T, T, RoundF<T>>;
    case kReciprocal: return row1<T, T, ReciprocalF<T>>;
    case kSignBit: return row1<T, uint8_t, SignBitF<T>>;
    case kIsNaN: return row1<T, uint8_t, NaNF<T>>;
    case kIsInf: return row1<T, uint8_t, InfF<T>>;
    case kIsFinite: return row1<T, uint8_t, FiniteF<T>>;
    case kPos: case kReal: case kConj: return row_copy<T>;
    default: return nullptr;
  }
}
template <class T> unary_row complex1(int op) {
  using R = typename T::value_type;
  switch (op) {
    WALLE_BOTH(WALLE_CASE)
    case kAbs: return row1<T, R, AbsC<T>>;
    case kReal: return row1<T, R, RealC<T>>;
    case kImag: return row1<T, R, ImagC<T>>;
    case kNeg: return row1<T, T, NegF<T>>;
    case kConj: return row1<T, T, Conj<T>>;
    case kSign: return row1<T, T, SignC<T>>;
    case kSquare: return row1<T, T, SquareC<T>>;
    case kReciprocal: return row1<T, T, ReciprocalC<T>>;
    case kExpm1: return row1<T, T, Expm1C<T>>;
    case kLog1p: return row1<T, T, Log1pC<T>>;
    case kLog2: return row1<T, T, Log2C<T>>;
    case kRound: return row1<T, T, RoundC<T>>;
    case kIsNaN: return row1<T, uint8_t, NaNC<T>>;
    case kIsInf: return row1<T, uint8_t, InfC<T>>;
    case kIsFinite: return row1<T, uint8_t, FiniteC<T>>;
    case kPos: return row_copy<T>;
    default: return nullptr;
  }
}
#undef WALLE_CASE
inline unary_row bool1(int op) {
  switch (op) {
    case kLNot: case kInvert: return row1<uint8_t, uint8_t, NotB<uint8_t>>;
    case kPos: case kReal: case kConj: case kAbs: return row_copy<uint8_t>;
    case kIsFinite: return row_fill<1>;
    case kIsInf: case kIsNaN: return row_fill<0>;
    default: return nullptr;
  }
}

template <class T> struct Part { using type = T; static T real(T x) { return x; } };
template <class R> struct Part<std::complex<R>> {
  using type = R;
  static R real(std::complex<R> x) { return x.real(); }
};
template <class F, class T> struct To { static T run(F x) { return T(typename Part<T>::type(Part<F>::real(x))); } };
template <class F, class R> struct To<std::complex<F>, std::complex<R>> {
  static std::complex<R> run(std::complex<F> x) { return {R(x.real()), R(x.imag())}; }
};
template <class F> struct ToBool { static uint8_t run(F x) { return x != F(0); } };
template <class F> unary_row cast1(int to) {
  switch (to) {
    case kBool: return row1<F, uint8_t, ToBool<F>>;
    case kI8: return row1<F, int8_t, To<F, int8_t>>;
    case kI16: return row1<F, int16_t, To<F, int16_t>>;
    case kI32: return row1<F, int32_t, To<F, int32_t>>;
    case kI64: return row1<F, int64_t, To<F, int64_t>>;
    case kU8: return row1<F, uint8_t, To<F, uint8_t>>;
    case kU16: return row1<F, uint16_t, To<F, uint16_t>>;
    case kU32: return row1<F, uint32_t, To<F, uint32_t>>;
    case kU64: return row1<F, uint64_t, To<F, uint64_t>>;
    case kF32: return row1<F, float, To<F, float>>;
    case kF64: return row1<F, double, To<F, double>>;
    case kC64: return row1<F, c64, To<F, c64>>;
    case kC128: return row1<F, c128, To<F, c128>>;
    default: return nullptr;
  }
}

}  // namespace

#define WALLE_BY_CODE(fn, arg)                                                                                   \
    case kI8: return fn<int8_t>(arg); case kI16: return fn<int16_t>(arg); case kI32: return fn<int32_t>(arg);    \
    case kI64: return fn<int64_t>(arg); case kU8: return fn<uint8_t>(arg); case kU16: return fn<uint16_t>(arg);  \
    case kU32: return fn<uint32_t>(arg); case kU64: return fn<uint64_t>(arg);
inline unary_row find_unary_in(int op, int code) {
  switch (code) {
    WALLE_BY_CODE(integer1, op)
    case kBool: return bool1(op);
    case kF32: return float1<float>(op);
    case kF64: return float1<double>(op);
    case kC64: return complex1<c64>(op);
    case kC128: return complex1<c128>(op);
    default: return nullptr;
  }
}
inline unary_row find_cast_in(int from, int to) {
  switch (from) {
    WALLE_BY_CODE(cast1, to)
    case kBool: return cast1<uint8_t>(to);
    case kF32: return cast1<float>(to);
    case kF64: return cast1<double>(to);
    case kC64: return cast1<c64>(to);
    case kC128: return cast1<c128>(to);
    default: return nullptr;
  }
}
#undef WALLE_BY_CODE

}}  // namespace walle::matrix
#endif
