// Family unary: dst[i] = f(src[i]), same dtype unless said (IsNaN and IsInf give bool).
//
// buf: dst, src (dst may be src). arg: the operator's parameters, f(double) each; Clip of an integer type takes
// integers, beyond the type's range where there is no bound. Units: elements. Adding an operator: one row here, one in walle_core/ops/unary.py.
#ifndef WALLE_KERNELS_UNARY_HPP
#define WALLE_KERNELS_UNARY_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/math.hpp"

// name, number of parameters (a, b), expression over a vector x, expression over a double x
#define WALLE_UNARY_FLOAT(OP)                                                                                        \
  OP(Abs, 0, abs(x), ::fabs(x))                                                                                      \
  OP(Neg, 0, neg(x), -x)                                                                                             \
  OP(Exp, 0, exp(x), ::exp(x))                                                                                       \
  OP(Log, 0, log(x), ::log(x))                                                                                       \
  OP(Sqrt, 0, sqrt(x), ::sqrt(x))                                                                                    \
  OP(Reciprocal, 0, div(val(1.0f), x), 1.0 / x)                                                                      \
  OP(Floor, 0, floor(x), ::floor(x))                                                                                 \
  OP(Ceil, 0, ceil(x), ::ceil(x))                                                                                    \
  OP(Round, 0, round_even(x), ::nearbyint(x))                                                                        \
  OP(Sign, 0, select(lt(val(0.0f), x), val(1.0f), select(lt(x, val(0.0f)), val(-1.0f), add(x, val(0.0f)))),          \
     x > 0 ? 1.0 : x < 0 ? -1.0 : x + 0)                                                                              \
  OP(Sin, 0, sin(x), ::sin(x))                                                                                       \
  OP(Cos, 0, cos(x), ::cos(x))                                                                                       \
  OP(Tan, 0, tan(x), ::tan(x))                                                                                       \
  OP(Asin, 0, asin(x), ::asin(x))                                                                                    \
  OP(Acos, 0, acos(x), ::acos(x))                                                                                    \
  OP(Atan, 0, atan(x), ::atan(x))                                                                                    \
  OP(Sinh, 0, sinh(x), ::sinh(x))                                                                                    \
  OP(Cosh, 0, cosh(x), ::cosh(x))                                                                                    \
  OP(Tanh, 0, tanh(x), ::tanh(x))                                                                                    \
  OP(Asinh, 0, asinh(x), ::asinh(x))                                                                                 \
  OP(Acosh, 0, acosh(x), ::acosh(x))                                                                                 \
  OP(Atanh, 0, atanh(x), ::atanh(x))                                                                                 \
  OP(Erf, 0, erf(x), ::erf(x))                                                                                       \
  OP(Sigmoid, 0, sigmoid(x), sigmoid64(x))                                                                           \
  OP(Relu, 0, max(val(0.0f), x), x < 0 ? 0.0 : x)                                                                    \
  OP(Softplus, 0, softplus(x), softplus64(x))                                                                        \
  OP(Softsign, 0, div(x, add(val(1.0f), abs(x))), x / (1.0 + ::fabs(x)))                                              \
  OP(HardSwish, 0, mul(x, hard_gate(x)), x * unit64((x + 3.0) / 6.0))                                                \
  OP(Gelu, 0, gelu(x), 0.5 * x * (1.0 + ::erf(x * 0.70710678118654752440)))                                          \
  OP(GeluTanh, 0, gelu_tanh(x), 0.5 * x * (1.0 + ::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))))       \
  OP(Mish, 0, mish(x), x * ::tanh(softplus64(x)))                                                                    \
  OP(Elu, 1, select(lt(x, val(0.0f)), mul(a, expm1(x)), x), x < 0 ? a * ::expm1(x) : x)                              \
  OP(LeakyRelu, 1, select(lt(x, val(0.0f)), mul(a, x), x), x < 0 ? a * x : x)                                        \
  OP(Celu, 1, select(lt(x, val(0.0f)), mul(a, expm1(div(x, a))), x), x < 0 ? a * ::expm1(x / a) : x)                 \
  OP(ThresholdedRelu, 1, select(lt(a, x), x, val(0.0f)), x > a ? x : 0.0)                                            \
  OP(Swish, 1, mul(x, sigmoid(mul(a, x))), x * sigmoid64(a * x))                                                     \
  OP(Clip, 2, min(b, max(a, x)), x < a ? (a < b ? a : b) : x > b ? b : x)                                            \
  OP(HardSigmoid, 2, unit(fma(a, x, b)), unit64(a * x + b))                                                          \
  OP(Selu, 2, mul(b, select(lt(x, val(0.0f)), mul(a, expm1(x)), x)), b * (x < 0 ? a * ::expm1(x) : x))

namespace walle { namespace WALLE_ISA { namespace {

inline F32 unit(F32 x) { return min(val(1.0f), max(val(0.0f), x)); }  // clamp to [0, 1]; NaN stays
inline F32 hard_gate(F32 x) { return mul(val(1.0f / 6.0f), min(val(6.0f), max(val(0.0f), add(x, val(3.0f))))); }
inline double unit64(double x) { return x < 0 ? 0.0 : x > 1 ? 1.0 : x; }
inline F32 softplus(F32 x) { return add(max(val(0.0f), x), log1p(exp(neg(abs(x))))); }
inline double softplus64(double x) { return (x < 0 ? 0.0 : x) + ::log1p(::exp(-::fabs(x))); }
inline double sigmoid64(double x) {
  const double e = ::exp(-::fabs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}
inline F32 gelu_tanh(F32 x) {
  const F32 cube = mul(mul(x, x), x), half = mul(val(0.5f), x);
  return fma(half, tanh(mul(val(0.79788456080f), fma(val(0.044715f), cube, x))), half);
}
inline F32 mish(F32 x) {  // tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), e = exp(x); 1 beyond 20
  const F32 e = exp(min(val(20.0f), x)), n = mul(e, add(e, val(2.0f)));
  return mul(x, div(n, add(n, val(2.0f))));
}

#define WALLE_OP(name, params, expr, expr64)                                                    \
  struct name##Op {                                                                             \
    static F32 run(F32 x, F32 a, F32 b) { (void)a, (void)b; return expr; }                      \
    static double run(double x, double a, double b) { (void)a, (void)b; return expr64; }        \
  };
WALLE_UNARY_FLOAT(WALLE_OP)
#undef WALLE_OP

template <class Op, int Params> void unary_f32(const walle_call* c) {
  float* d = static_cast<float*>(c->buf[0]) + c->begin;
  const float* s = static_cast<const float*>(c->buf[1]) + c->begin;
  const F32 a = val(Params > 0 ? float(walle_f64(c->arg[0])) : 0.0f);
  const F32 b = val(Params > 1 ? float(walle_f64(c->arg[1])) : 0.0f);
  size_t n = size_t(c->end - c->begin);
  for (; n >= size_t(F32::N); n -= F32::N, s += F32::N, d += F32::N) Op::run(F32::load(s), a, b).store(d);
  if (n) Op::run(F32::load(s, n), a, b).store(d, n);
}

template <class Op, int Params> void unary_f64(const walle_call* c) {
  double* d = static_cast<double*>(c->buf[0]);
  const double* s = static_cast<const double*>(c->buf[1]);
  const double a = Params > 0 ? walle_f64(c->arg[0]) : 0.0, b = Params > 1 ? walle_f64(c->arg[1]) : 0.0;
  for (int64_t i = c->begin; i < c->end; ++i) d[i] = Op::run(s[i], a, b);
}

template <class T> void is_nan(const walle_call* c) {
  uint8_t* d = static_cast<uint8_t*>(c->buf[0]);
  const T* s = static_cast<const T*>(c->buf[1]);
  for (int64_t i = c->begin; i < c->end; ++i) d[i] = s[i] != s[i];
}
template <class T> void is_inf(const walle_call* c) {  // f(detect_negative), f(detect_positive)
  uint8_t* d = static_cast<uint8_t*>(c->buf[0]);
  const T* s = static_cast<const T*>(c->buf[1]);
  const T inf = T(kInf), none = T(kNaN);
  const T low = walle_f64(c->arg[0]) != 0 ? -inf : none, high = walle_f64(c->arg[1]) != 0 ? inf : none;
  for (int64_t i = c->begin; i < c->end; ++i) d[i] = (s[i] == low) | (s[i] == high);
}

template <class T> struct AbsInt { static T run(T x, T, T) { return x < 0 ? T(0u - uint64_t(x)) : x; } };
template <class T> struct NegInt { static T run(T x, T, T) { return T(0u - x); } };
template <class T> struct SignInt { static T run(T x, T, T) { return T((x > 0) - (x < 0)); } };
template <class T> struct ReluInt { static T run(T x, T, T) { return x < 0 ? T(0) : x; } };
template <class T> struct NotInt { static T run(T x, T, T) { return T(~x); } };
template <class T> struct NotBool { static T run(T x, T, T) { return T(x == 0); } };
template <class T> struct ClipInt { static T run(T x, T a, T b) { const T y = x < a ? a : x; return y > b ? b : y; } };

template <class T> T saturate(int64_t x) {  // INT64_MAX is also uint64's upper end: no bound
  constexpr bool is_signed = T(-1) < T(0);
  const T top = is_signed ? T(~(T(1) << (8 * sizeof(T) - 1))) : T(~T(0)), bottom = T(is_signed ? T(~top) : T(0));
  if (sizeof(T) == 8) return is_signed ? T(x) : x == INT64_MAX ? top : x < 0 ? T(0) : T(x);
  return x > int64_t(top) ? top : x < int64_t(bottom) ? bottom : T(x);
}

template <class T, template <class> class Op, int Params> void unary_int(const walle_call* c) {
  T* d = static_cast<T*>(c->buf[0]);
  const T* s = static_cast<const T*>(c->buf[1]);
  const T a = Params ? saturate<T>(c->arg[0]) : T(0), b = Params ? saturate<T>(c->arg[1]) : T(0);
#pragma GCC ivdep
  for (int64_t i = c->begin; i < c->end; ++i) d[i] = Op<T>::run(s[i], a, b);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_ROW(name, params, expr, expr64)                         \
  {"unary", #name, "float32", unary_f32<name##Op, params>},           \
  {"unary", #name, "float64", unary_f64<name##Op, params>},
// Negation and complement depend on the width alone.
#define WALLE_UNARY_INT(type, width)                                  \
  {"unary", "Abs", #type, unary_int<type##_t, AbsInt, 0>},            \
  {"unary", "Neg", #type, unary_int<uint##width##_t, NegInt, 0>},     \
  {"unary", "Sign", #type, unary_int<type##_t, SignInt, 0>},          \
  {"unary", "Relu", #type, unary_int<type##_t, ReluInt, 0>},          \
  {"unary", "Clip", #type, unary_int<type##_t, ClipInt, 2>},          \
  {"unary", "BitwiseNot", #type, unary_int<uint##width##_t, NotInt, 0>},
#define WALLE_UNARY_ROWS                                                                                       \
  WALLE_UNARY_FLOAT(WALLE_ROW)                                                                                 \
  {"unary", "IsNaN", "float32", is_nan<float>}, {"unary", "IsNaN", "float64", is_nan<double>},                 \
  {"unary", "IsInf", "float32", is_inf<float>}, {"unary", "IsInf", "float64", is_inf<double>},                 \
  {"unary", "Not", "bool", unary_int<uint8_t, NotBool, 0>},                                                    \
  WALLE_UNARY_INT(int8, 8) WALLE_UNARY_INT(int16, 16) WALLE_UNARY_INT(int32, 32) WALLE_UNARY_INT(int64, 64)    \
  WALLE_UNARY_INT(uint8, 8) WALLE_UNARY_INT(uint16, 16) WALLE_UNARY_INT(uint32, 32) WALLE_UNARY_INT(uint64, 64)
#endif
