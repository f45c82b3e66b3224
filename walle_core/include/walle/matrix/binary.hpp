// Elementwise operators of two operands: a row loop per operator and type, and the table that finds it.
#ifndef WALLE_MATRIX_BINARY_HPP
#define WALLE_MATRIX_BINARY_HPP
#include "walle/matrix/scalar_math.hpp"

namespace walle { namespace matrix { namespace {

// Three loops, as a repeated operand in a register lets the compiler vectorise the other one. dst may be a or b.
template <class T, class R, class Op> void row2(void* dst, const void* pa, const void* pb, int64_t n, int dense) {
  R* d = static_cast<R*>(dst);
  const T *a = static_cast<const T*>(pa), *b = static_cast<const T*>(pb);
  if (dense == 3) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) d[i] = Op::run(a[i], b[i]);
  } else if (dense == 1) {
    const T y = *b;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) d[i] = Op::run(a[i], y);
  } else if (dense == 2) {
    const T x = *a;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) d[i] = Op::run(x, b[i]);
  } else {
    const R v = Op::run(*a, *b);
    for (int64_t i = 0; i < n; ++i) d[i] = v;
  }
}

#define WALLE_SAME2(name, expr) \
  template <class T> struct name { static T run(T a, T b) { return expr; } };
template <class T> using Wrap = std::make_unsigned_t<T>;
WALLE_SAME2(AddI, T(a + b))
WALLE_SAME2(SubI, T(a - b))
WALLE_SAME2(MulI, T(uint64_t(a) * uint64_t(b)))
WALLE_SAME2(AddF, a + b)
WALLE_SAME2(SubF, a - b)
WALLE_SAME2(MulF, a * b)
WALLE_SAME2(DivF, a / b)
WALLE_SAME2(MulC, mul(a, b))
WALLE_SAME2(DivC, div(a, b))
WALLE_SAME2(PowC, pow_complex(a, b))
WALLE_SAME2(FloorDivI, floor_div_int(a, b))
WALLE_SAME2(RemI, rem_int(a, b))
WALLE_SAME2(PowI, pow_int(a, b))
WALLE_SAME2(FloorDivF, floor_div_float(a, b))
WALLE_SAME2(RemF, rem_float(a, b))
WALLE_SAME2(PowF, T(std::pow(a, b)))
WALLE_SAME2(MaxI, a > b ? a : b)
WALLE_SAME2(MinI, a < b ? a : b)
WALLE_SAME2(MaxF, (a > b || a != a) ? a : b)
WALLE_SAME2(MinF, (a < b || a != a) ? a : b)
WALLE_SAME2(Atan2F, std::atan2(a, b))
WALLE_SAME2(HypotF, std::hypot(a, b))
WALLE_SAME2(LogAddExpF, log_add_exp(a, b))
WALLE_SAME2(CopySignF, std::copysign(a, b))
WALLE_SAME2(NextAfterF, std::nextafter(a, b))
WALLE_SAME2(AndI, T(a & b))
WALLE_SAME2(OrI, T(a | b))
WALLE_SAME2(XorI, T(a ^ b))
WALLE_SAME2(ShlI, shift_left(a, b))
WALLE_SAME2(ShrI, shift_right(a, b))
#undef WALLE_SAME2
#define WALLE_COMPARE2(name, expr) template <class T> struct name { static uint8_t run(T a, T b) { return expr; } };
WALLE_COMPARE2(Eq, a == b)
WALLE_COMPARE2(Ne, a != b)
WALLE_COMPARE2(Lt, a < b)
WALLE_COMPARE2(Le, a <= b)
WALLE_COMPARE2(Gt, a > b)
WALLE_COMPARE2(Ge, a >= b)
#undef WALLE_COMPARE2

template <class T> binary_row compare2(int op) {
  switch (op) {
    case kEq: return row2<T, uint8_t, Eq<T>>;
    case kNe: return row2<T, uint8_t, Ne<T>>;
    case kLt: return row2<T, uint8_t, Lt<T>>;
    case kLe: return row2<T, uint8_t, Le<T>>;
    case kGt: return row2<T, uint8_t, Gt<T>>;
    case kGe: return row2<T, uint8_t, Ge<T>>;
    default: return nullptr;
  }
}
// Sums, products, bits and equality do not depend on the sign: U is the unsigned type of T's width.
template <class T> binary_row integer2(int op) {
  using U = Wrap<T>;
  switch (op) {
    case kAdd: return row2<U, U, AddI<U>>;
    case kSub: return row2<U, U, SubI<U>>;
    case kMul: return row2<U, U, MulI<U>>;
    case kAnd: return row2<U, U, AndI<U>>;
    case kOr: return row2<U, U, OrI<U>>;
    case kXor: return row2<U, U, XorI<U>>;
    case kEq: case kNe: return compare2<U>(op);
    case kFloorDiv: return row2<T, T, FloorDivI<T>>;
    case kRem: return row2<T, T, RemI<T>>;
    case kPow: return row2<T, T, PowI<T>>;
    case kMax: return row2<T, T, MaxI<T>>;
    case kMin: return row2<T, T, MinI<T>>;
    case kShl: return row2<T, T, ShlI<T>>;
    case kShr: return row2<T, T, ShrI<T>>;
    default: return compare2<T>(op);
  }
}
template <class T> binary_row float2(int op) {
  switch (op) {
    case kAdd: return row2<T, T, AddF<T>>;
    case kSub: return row2<T, T, SubF<T>>;
    case kMul: return row2<T, T, MulF<T>>;
    case kDiv: return row2<T, T, DivF<T>>;
    case kFloorDiv: return row2<T, T, FloorDivF<T>>;
    case kRem: return row2<T, T, RemF<T>>;
    case kPow: return row2<T, T, PowF<T>>;
    case kMax: return row2<T, T, MaxF<T>>;
    case kMin: return row2<T, T, MinF<T>>;
    case kAtan2: return row2<T, T, Atan2F<T>>;
    case kHypot: return row2<T, T, HypotF<T>>;
    case kLogAddExp: return row2<T, T, LogAddExpF<T>>;
    case kCopySign: return row2<T, T, CopySignF<T>>;
    case kNextAfter: return row2<T, T, NextAfterF<T>>;
    default: return compare2<T>(op);
  }
}
template <class T> binary_row complex2(int op) {
  switch (op) {
    case kAdd: return row2<T, T, AddF<T>>;
    case kSub: return row2<T, T, SubF<T>>;
    case kMul: return row2<T, T, MulC<T>>;
    case kDiv: return row2<T, T, DivC<T>>;
    case kPow: return row2<T, T, PowC<T>>;
    case kEq: return row2<T, uint8_t, Eq<T>>;
    case kNe: return row2<T, uint8_t, Ne<T>>;
    default: return nullptr;
  }
}
inline binary_row bool2(int op) {
  using T = uint8_t;
  switch (op) {
    case kAdd: case kOr: case kLOr: case kMax: return row2<T, T, OrI<T>>;
    case kMul: case kAnd: case kLAnd: case kMin: return row2<T, T, AndI<T>>;
    case kXor: case kLXor: return row2<T, T, XorI<T>>;
    default: return compare2<T>(op);
  }
}

}  // namespace

inline binary_row find_binary_in(int op, int code) {
  switch (code) {
    case kBool: return bool2(op);
    case kI8: return integer2<int8_t>(op);
    case kI16: return integer2<int16_t>(op);
    case kI32: return integer2<int32_t>(op);
    case kI64: return integer2<int64_t>(op);
    case kU8: return integer2<uint8_t>(op);
    case kU16: return integer2<uint16_t>(op);
    case kU32: return integer2<uint32_t>(op);
    case kU64: return integer2<uint64_t>(op);
    case kF32: return float2<float>(op);
    case kF64: return float2<double>(op);
    case kC64: return complex2<c64>(op);
    case kC128: return complex2<c128>(op);
    default: return nullptr;
  }
}

}}  // namespace walle::matrix
#endif
