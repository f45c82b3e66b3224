// Activations that a heavy kernel (gemm, conv, depthwise, winograd) applies to a result while it is in a register.
//
// arg encoding, the same in every family: code, f(alpha), f(beta); codes in `Act`. The table of names is repeated in
// walle_core/backends/table/activation.py.
#ifndef WALLE_KERNELS_ACTIVATION_HPP
#define WALLE_KERNELS_ACTIVATION_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/math.hpp"

namespace walle { namespace WALLE_ISA { namespace {

enum Act : int64_t {
  kActNone = 0,
  kActRelu = 1,       // max(x, 0)
  kActClip = 2,       // min(max(x, alpha), beta)
  kActLeakyRelu = 3,  // x < 0 ? alpha*x : x
  kActHardSwish = 4,  // x * min(max(x/6 + 1/2, 0), 1)
  kActSigmoid = 5,    // 1 / (1 + exp(-x))
  kActTanh = 6,
  kActGelu = 7,       // x/2 * (1 + erf(x/sqrt(2)))
  kActSwish = 8,      // x * sigmoid(alpha*x)
};

// An activation ready to apply. None, Relu and Clip are one clamp, so that the common cases share one code path
// without a branch per vector; NaN passes through (max and min return their second operand when either is NaN).
struct Activation {
  int64_t code;
  float alpha, beta;
  F32 lo, hi;

  static Activation make(const int64_t* arg) {
    const float inf = __builtin_inff();
    Activation a;
    a.code = arg[0];
    a.alpha = float(walle_f64(arg[1]));
    a.beta = float(walle_f64(arg[2]));
    a.lo = F32::set(a.code == kActRelu ? 0.0f : a.code == kActClip ? a.alpha : -inf);
    a.hi = F32::set(a.code == kActClip ? a.beta : inf);
    return a;
  }
  bool is_clamp() const { return code <= kActClip; }
  F32 clamp(F32 x) const { return min(hi, max(lo, x)); }

  // The other activations, on n vectors at once: one call and one switch.
  __attribute__((noinline)) static void curves(F32* x, int n, int64_t code, float alpha) {
    const F32 one = F32::set(1.0f), half = F32::set(0.5f), zero = F32::set(0.0f), a = F32::set(alpha);
    switch (code) {
      case kActLeakyRelu:
        for (int i = 0; i < n; ++i) x[i] = select(lt(x[i], zero), mul(x[i], a), x[i]);
        break;
      case kActHardSwish:
        for (int i = 0; i < n; ++i)
          x[i] = mul(x[i], min(one, max(zero, add(mul(x[i], F32::set(1.0f / 6.0f)), half))));
        break;
      case kActSigmoid:
        for (int i = 0; i < n; ++i) x[i] = sigmoid(x[i]);
        break;
      case kActTanh:
        for (int i = 0; i < n; ++i) x[i] = tanh(x[i]);
        break;
      case kActGelu:
        for (int i = 0; i < n; ++i) x[i] = gelu(x[i]);
        break;
      case kActSwish:
        for (int i = 0; i < n; ++i) x[i] = mul(x[i], sigmoid(mul(x[i], a)));
        break;
      default: break;
    }
  }
  // In place, on vectors in memory.
  void all(F32* x, int n) const {
    if (!is_clamp()) return curves(x, n, code, alpha);
    for (int i = 0; i < n; ++i) x[i] = clamp(x[i]);
  }
  F32 operator()(F32 x) const {
    if (is_clamp()) return clamp(x);
    curves(&x, 1, code, alpha);
    return x;
  }
  // In place, on vectors that the caller holds.
  template <int n> void apply(F32 (&x)[n]) const {
    if (is_clamp()) {
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) x[i] = clamp(x[i]);
    } else {
      F32 copy[n];
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) copy[i] = x[i];
      curves(copy, n, code, alpha);
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) x[i] = copy[i];
    }
  }
};

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
