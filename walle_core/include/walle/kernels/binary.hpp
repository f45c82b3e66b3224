// Family binary: dst[i] = f(a[i], b[i]) with broadcasting; comparisons and logic give bool.
//
// buf: dst, a, b (dst may be an operand of its own size and layout). arg: rank, size[rank], stride_a[rank],
// stride_b[rank]; a stride of 0 repeats. Units: elements of dst.
// Adding an operator: one row here, one in walle_core/ops/binary.py.
#ifndef WALLE_KERNELS_BINARY_HPP
#define WALLE_KERNELS_BINARY_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/broadcast.hpp"
#include "walle/kernels/math.hpp"

namespace walle { namespace WALLE_ISA { namespace {

template <class T> inline T float_mod(T a, T b) {  // sign of the divisor, as in Python
  T r = sizeof(T) == 4 ? T(::fmodf(float(a), float(b))) : T(::fmod(double(a), double(b)));
  return r != 0 ? ((r < 0) != (b < 0) ? r + b : r) : T(::copysign(0.0, double(b)) + r);
}
inline F32 prelu(F32 a, F32 b) { return select(lt(a, val(0.0f)), mul(a, b), a); }
inline F32 max_nan(F32 a, F32 b) { return select(isnan(a), a, max(a, b)); }
inline F32 min_nan(F32 a, F32 b) { return select(isnan(a), a, min(a, b)); }

template <class T> constexpr bool kSigned = T(-1) < T(0);
template <class T> inline T int_div(T a, T b) {  // toward zero; x/0 = 0; -(lowest) wraps
  if (b == 0) return 0;
  if (kSigned<T> && b == T(-1)) return T(0u - uint64_t(a));
  return T(a / b);
}
template <class T> inline T int_fmod(T a, T b) { return b == 0 || (kSigned<T> && b == T(-1)) ? T(0) : T(a % b); }
template <class T> inline T int_mod(T a, T b) {
  const T r = int_fmod(a, b);
  return kSigned<T> && r != 0 && (r < 0) != (b < 0) ? T(r + b) : r;
}
template <class T> inline T int_pow(T a, T b) {  // negative exponents: 1/a^|b| toward zero
  if (b < 0) return a == 1 ? T(1) : a == T(-1) ? (b & 1 ? T(-1) : T(1)) : T(0);
  uint64_t y = 1, x = uint64_t(a);
  for (uint64_t n = uint64_t(b); n; n >>= 1, x *= x)
    if (n & 1) y *= x;
  return T(y);
}

// name, expression over vectors a, b
#define WALLE_BINARY_F32(OP)                                       \
  OP(Add, add(a, b)) OP(Sub, sub(a, b)) OP(Mul, mul(a, b))         \
  OP(Div, div(a, b)) OP(Pow, pow(a, b)) OP(PRelu, prelu(a, b))     \
  OP(Max, max_nan(a, b)) OP(Min, min_nan(a, b))
// name, expression over scalars a, b of any dtype; T is the dtype
#define WALLE_BINARY_COMPARE(OP)                                                                            \
  OP(Equal, a == b) OP(Less, a < b) OP(LessOrEqual, a <= b) OP(Greater, a > b) OP(GreaterOrEqual, a >= b)
#define WALLE_BINARY_REAL(OP)                                                                  \
  OP(Add, a + b) OP(Sub, a - b) OP(Mul, a * b) OP(Div, a / b) OP(Pow, T(::pow(a, b)))          \
  OP(PRelu, a < 0 ? a * b : a) OP(Max, a >= b || a != a ? a : b) OP(Min, a <= b || a != a ? a : b)
#define WALLE_BINARY_MOD(OP) OP(Mod, float_mod<T>(a, b)) OP(Fmod, T(::fmod(double(a), double(b))))
#define WALLE_BINARY_WIDTH(OP)  /* the same for signed and unsigned */                        \
  OP(Add, T(a + b)) OP(Sub, T(a - b)) OP(Mul, T(1u * a * b)) OP(BitwiseAnd, T(a & b))          \
  OP(BitwiseOr, T(a | b)) OP(BitwiseXor, T(a ^ b))
#define WALLE_BINARY_SIGN(OP)                                                                              \
  OP(Div, int_div<T>(a, b)) OP(Pow, int_pow<T>(a, b)) OP(Mod, int_mod<T>(a, b)) OP(Fmod, int_fmod<T>(a, b)) \
  OP(Max, a > b ? a : b) OP(Min, a < b ? a : b) OP(PRelu, a < 0 ? T(1u * a * b) : a)
#define WALLE_BINARY_SHIFT(OP)                                                            \
  OP(BitShiftLeft, size_t(b) < 8 * sizeof(T) ? T(uint64_t(a) << b) : T(0))                \
  OP(BitShiftRight, size_t(b) < 8 * sizeof(T) ? T(a >> b) : T(0))
#define WALLE_BINARY_LOGIC(OP) OP(And, (a != 0) & (b != 0)) OP(Or, (a | b) != 0) OP(Xor, (a != 0) ^ (b != 0))

#define WALLE_OP(name, expr) struct name##F32 { static F32 run(F32 a, F32 b) { return expr; } };
WALLE_BINARY_F32(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name, expr) template <class T> struct name##Compare { static uint8_t run(T a, T b) { return expr; } };
WALLE_BINARY_COMPARE(WALLE_OP) WALLE_BINARY_LOGIC(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name, expr) template <class T> struct name##Real { static T run(T a, T b) { return expr; } };
WALLE_BINARY_REAL(WALLE_OP) WALLE_BINARY_MOD(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name, expr) template <class T> struct name##Int { static T run(T a, T b) { return expr; } };
WALLE_BINARY_WIDTH(WALLE_OP) WALLE_BINARY_SIGN(WALLE_OP) WALLE_BINARY_SHIFT(WALLE_OP)
#undef WALLE_OP

template <class Op, bool A, bool B> inline void row_f32(float* d, const float* a, const float* b, size_t n) {
  constexpr size_t N = F32::N;
  const F32 a0 = val(A ? 0.0f : *a), b0 = val(B ? 0.0f : *b);
  size_t i = 0;
  for (; i + N <= n; i += N) Op::run(A ? F32::load(a + i) : a0, B ? F32::load(b + i) : b0).store(d + i);
  if (i < n) Op::run(A ? F32::load(a + i, n - i) : a0, B ? F32::load(b + i, n - i) : b0).store(d + i, n - i);
}
template <class Op> void rows_f32(void* dst, const void* const* src, unsigned dense, size_t n) {
  float* d = static_cast<float*>(dst);
  const float *a = static_cast<const float*>(src[0]), *b = static_cast<const float*>(src[1]);
  if (dense == 3) return row_f32<Op, true, true>(d, a, b, n);
  if (dense == 2) return row_f32<Op, false, true>(d, a, b, n);
  if (dense == 1) return row_f32<Op, true, false>(d, a, b, n);
  row_f32<Op, false, false>(d, a, b, n);
}
// One exponent for a whole row is mostly 2, 3 or 1/2.
struct SquareF32 { static F32 run(F32 a, F32) { return mul(a, a); } };
struct CubeF32 { static F32 run(F32 a, F32) { return mul(mul(a, a), a); } };
struct RootF32 {
  static F32 run(F32 a, F32) { return select(eq(a, val(-kInf)), val(kInf), sqrt(add(a, val(0.0f)))); }
};
inline void rows_pow_f32(void* dst, const void* const* src, unsigned dense, size_t n) {
  const float y = *static_cast<const float*>(src[1]);
  if (n == 0 || dense != 1) return rows_f32<PowF32>(dst, src, dense, n);
  if (y == 2.0f) return rows_f32<SquareF32>(dst, src, dense, n);
  if (y == 3.0f) return rows_f32<CubeF32>(dst, src, dense, n);
  if (y == 0.5f) return rows_f32<RootF32>(dst, src, dense, n);
  rows_f32<PowF32>(dst, src, dense, n);
}

template <class T, class R, class Op> void rows_of(void* dst, const void* const* src, unsigned dense, size_t n) {
  R* d = static_cast<R*>(dst);
  const T *a = static_cast<const T*>(src[0]), *b = static_cast<const T*>(src[1]);
  if (dense == 3) {
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i) d[i] = Op::run(a[i], b[i]);
  } else if (dense == 2) {
    const T x = *a;
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i) d[i] = Op::run(x, b[i]);
  } else if (dense == 1) {
    const T y = *b;
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i) d[i] = Op::run(a[i], y);
  } else {
    const R value = n ? Op::run(*a, *b) : R(0);
    for (size_t i = 0; i < n; ++i) d[i] = value;
  }
}

template <class Op> void binary_f32(const walle_call* c) { broadcast_rows<2>(c, {4, 4, 4}, rows_f32<Op>); }
template <> void binary_f32<PowF32>(const walle_call* c) { broadcast_rows<2>(c, {4, 4, 4}, rows_pow_f32); }
template <class T, class R, class Op> void binary_of(const walle_call* c) {
  broadcast_rows<2>(c, {sizeof(R), sizeof(T), sizeof(T)}, rows_of<T, R, Op>);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_ROW_F32(name, expr) {"binary", #name, "float32", binary_f32<name##F32>},
#define WALLE_ROW_OF(dtype, type, name, result, kind) \
  {"binary", #name, #dtype, binary_of<type, result, name##kind<type>>},
#define WALLE_ROW_CF32(name, expr) WALLE_ROW_OF(float32, float, name, uint8_t, Compare)
#define WALLE_ROW_CF64(name, expr) WALLE_ROW_OF(float64, double, name, uint8_t, Compare)
#define WALLE_ROW_MF32(name, expr) WALLE_ROW_OF(float32, float, name, float, Real)
#define WALLE_ROW_F64(name, expr) WALLE_ROW_OF(float64, double, name, double, Real)
#define WALLE_ROW_BOOL(name, expr) WALLE_ROW_OF(bool, uint8_t, name, uint8_t, Compare)
#define WALLE_ROW_INT(dtype, width, sign_type)                                       \
  WALLE_ROW_OF(dtype, uint##width##_t, Add, uint##width##_t, Int)                    \
  WALLE_ROW_OF(dtype, uint##width##_t, Sub, uint##width##_t, Int)                    \
  WALLE_ROW_OF(dtype, uint##width##_t, Mul, uint##width##_t, Int)                    \
  WALLE_ROW_OF(dtype, uint##width##_t, BitwiseAnd, uint##width##_t, Int)             \
  WALLE_ROW_OF(dtype, uint##width##_t, BitwiseOr, uint##width##_t, Int)              \
  WALLE_ROW_OF(dtype, uint##width##_t, BitwiseXor, uint##width##_t, Int)             \
  WALLE_ROW_OF(dtype, uint##width##_t, Equal, uint8_t, Compare)                      \
  WALLE_ROW_OF(dtype, sign_type, Less, uint8_t, Compare)                             \
  WALLE_ROW_OF(dtype, sign_type, LessOrEqual, uint8_t, Compare)                      \
  WALLE_ROW_OF(dtype, sign_type, Greater, uint8_t, Compare)                          \
  WALLE_ROW_OF(dtype, sign_type, GreaterOrEqual, uint8_t, Compare)                   \
  WALLE_ROW_OF(dtype, sign_type, Div, sign_type, Int)                                \
  WALLE_ROW_OF(dtype, sign_type, Pow, sign_type, Int)                                \
  WALLE_ROW_OF(dtype, sign_type, Mod, sign_type, Int)                                \
  WALLE_ROW_OF(dtype, sign_type, Fmod, sign_type, Int)                               \
  WALLE_ROW_OF(dtype, sign_type, Max, sign_type, Int)                                \
  WALLE_ROW_OF(dtype, sign_type, Min, sign_type, Int)                                \
  WALLE_ROW_OF(dtype, sign_type, PRelu, sign_type, Int)
#define WALLE_ROW_UINT(dtype, width)                                                 \
  WALLE_ROW_INT(dtype, width, uint##width##_t)                                       \
  WALLE_ROW_OF(dtype, uint##width##_t, BitShiftLeft, uint##width##_t, Int)           \
  WALLE_ROW_OF(dtype, uint##width##_t, BitShiftRight, uint##width##_t, Int)
#define WALLE_BINARY_ROWS                                                                            \
  WALLE_BINARY_F32(WALLE_ROW_F32) WALLE_BINARY_COMPARE(WALLE_ROW_CF32) WALLE_BINARY_MOD(WALLE_ROW_MF32) \
  WALLE_BINARY_REAL(WALLE_ROW_F64) WALLE_BINARY_COMPARE(WALLE_ROW_CF64) WALLE_BINARY_MOD(WALLE_ROW_F64) \
  WALLE_BINARY_LOGIC(WALLE_ROW_BOOL) WALLE_ROW_BOOL(Equal, )                                         \
  WALLE_ROW_INT(int8, 8, int8_t) WALLE_ROW_INT(int16, 16, int16_t)                                   \
  WALLE_ROW_INT(int32, 32, int32_t) WALLE_ROW_INT(int64, 64, int64_t)                                \
  WALLE_ROW_UINT(uint8, 8) WALLE_ROW_UINT(uint16, 16) WALLE_ROW_UINT(uint32, 32) WALLE_ROW_UINT(uint64, 64)
#endif
