// Runs of cheap steps of a chain (expression.hpp) in vector registers: what one step makes, the next finds there, and memory is
// read for other operands and written for results that somebody else reads.
//
// A tape is a list of moves over an accumulator of kWide vectors: load, store, or an operator of the accumulator and another
// operand. The operators are those of unary.hpp and binary.hpp, so their results are the same bit for bit.
#ifndef WALLE_KERNELS_TAPE_HPP
#define WALLE_KERNELS_TAPE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/binary.hpp"
#include "walle/kernels/unary.hpp"

// Operators of a few instructions; those that need more gain nothing here.
#define WALLE_TAPE_UNARY(OP) OP(Abs) OP(Neg) OP(Sqrt) OP(Reciprocal) OP(Floor) OP(Ceil) OP(Round) OP(Relu)
#define WALLE_TAPE_BINARY(OP) OP(Add) OP(Sub) OP(Mul) OP(Div) OP(Max) OP(Min)

namespace walle { namespace WALLE_ISA { namespace {

struct Tape {
  static constexpr int kWide = 8;
  // Forms of a binary operator: accumulator and block, block and accumulator, accumulator and one value, value and
  // accumulator, accumulator twice.
  enum Form { kBlock, kBlockFirst, kValue, kValueFirst, kTwice, kForms };
  enum Code : int32_t {
    kNone, kLoad, kLoadValue, kStore,
#define WALLE_OP(name) k##name,
    WALLE_TAPE_UNARY(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name) k##name, k##name##Last = k##name + kForms - 1,
    WALLE_TAPE_BINARY(WALLE_OP)
#undef WALLE_OP
  };
  struct Move {
    int32_t code, source;
    float* data;  // of element 0
  };

  // The code of a kernel row: the first form of a binary operator; kNone for a row that has none.
  static int32_t code_of(walle_kernel_fn row) {
#define WALLE_OP(name) if (row == walle_kernel_fn(unary_f32<name##Op, 0>)) return k##name;
    WALLE_TAPE_UNARY(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name) if (row == walle_kernel_fn(binary_f32<name##F32>)) return k##name;
    WALLE_TAPE_BINARY(WALLE_OP)
#undef WALLE_OP
    return kNone;
  }

  // Elements `at`.. of all moves: W vectors, or the first `part` elements of one.
  template <int W, bool kPart> static void run(const Move* moves, int count, int64_t at, size_t part) {
    constexpr int N = F32::N;
    const F32 none = val(0.0f);
    F32 x[W];
#pragma GCC unroll 8
    for (int j = 0; j < W; ++j) x[j] = none;
    for (const Move *m = moves, *end = moves + count; m != end; ++m) {
      float* const p = m->data + at;
      const auto get = [&](int j) __attribute__((always_inline)) {
        return kPart ? F32::load(p, part) : F32::load(p + j * N);
      };
      switch (m->code) {
#define WALLE_EACH(code, made)                        \
        case code: {                                  \
          _Pragma("GCC unroll 8")                     \
          for (int j = 0; j < W; ++j) x[j] = made;    \
          break;                                      \
        }
#define WALLE_EACH_VALUE(code, made)                  \
        case code: {                                  \
          const F32 value = val(*m->data);            \
          _Pragma("GCC unroll 8")                     \
          for (int j = 0; j < W; ++j) x[j] = made;    \
          break;                                      \
        }
        WALLE_EACH(kLoad, get(j))
        WALLE_EACH_VALUE(kLoadValue, value)
        case kStore: {
#pragma GCC unroll 8
          for (int j = 0; j < W; ++j) {
            if (kPart) x[j].store(p, part); else x[j].store(p + j * N);
          }
          break;
        }
#define WALLE_OP(name) WALLE_EACH(k##name, (name##Op::run(x[j], none, none)))
        WALLE_TAPE_UNARY(WALLE_OP)
#undef WALLE_OP
#define WALLE_OP(name)                                                      \
        WALLE_EACH(k##name + kBlock, name##F32::run(x[j], get(j)))          \
        WALLE_EACH(k##name + kBlockFirst, name##F32::run(get(j), x[j]))     \
        WALLE_EACH_VALUE(k##name + kValue, name##F32::run(x[j], value))     \
        WALLE_EACH_VALUE(k##name + kValueFirst, name##F32::run(value, x[j])) \
        WALLE_EACH(k##name + kTwice, name##F32::run(x[j], x[j]))
        WALLE_TAPE_BINARY(WALLE_OP)
#undef WALLE_OP
#undef WALLE_EACH
#undef WALLE_EACH_VALUE
        default: __builtin_unreachable();
      }
    }
  }
  static void run(const Move* moves, int count, int64_t n) {
    constexpr int N = F32::N;
    int64_t at = 0;
    for (; at + kWide * N <= n; at += kWide * N) run<kWide, false>(moves, count, at, 0);
    for (; at + N <= n; at += N) run<1, false>(moves, count, at, 0);
    if (at < n) run<1, true>(moves, count, at, size_t(n - at));
  }
};

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
