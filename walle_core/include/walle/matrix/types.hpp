// Element types of matrix arrays and the numbers that name them; Code's order is that of walle_core.matrix.dtypes.
#ifndef WALLE_MATRIX_TYPES_HPP
#define WALLE_MATRIX_TYPES_HPP
#include <stddef.h>
#include <stdint.h>

#include <complex>

namespace walle { namespace matrix {

enum Code { kBool, kI8, kI16, kI32, kI64, kU8, kU16, kU32, kU64, kF32, kF64, kC64, kC128, kCodes };
constexpr int kMaxRank = 12;

using c64 = std::complex<float>;
using c128 = std::complex<double>;
constexpr int64_t kItem[kCodes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 8, 16};  // bytes; a bool is 0 or 1

// Units of a row: n elements of dst. `dense`: bit 0 for a, bit 1 for b; an operand that is not dense is one value.
using binary_row = void (*)(void* dst, const void* a, const void* b, int64_t n, int dense);
using unary_row = void (*)(void* dst, const void* a, int64_t n);

enum Binary { kAdd, kSub, kMul, kDiv, kFloorDiv, kRem, kPow, kMax, kMin, kAtan2, kHypot, kLogAddExp, kCopySign,
              kNextAfter, kAnd, kOr, kXor, kShl, kShr, kEq, kNe, kLt, kLe, kGt, kGe, kLAnd, kLOr, kLXor, kBinaries };
enum Unary { kAbs, kAcos, kAcosh, kAsin, kAsinh, kAtan, kAtanh, kCeil, kConj, kCos, kCosh, kExp, kExpm1, kFloor,
             kImag, kInvert, kIsFinite, kIsInf, kIsNaN, kLog, kLog1p, kLog2, kLog10, kLNot, kNeg, kPos, kReal,
             kReciprocal, kRound, kSign, kSignBit, kSin, kSinh, kSqrt, kSquare, kTan, kTanh, kTrunc, kUnaries };

// Null where the operator is not defined for the type.
binary_row find_binary(int op, int code);
unary_row find_unary(int op, int code);
unary_row find_cast(int from, int to);

}}  // namespace walle::matrix
#endif
