// Family probe: what the processor can do at most, for calibration.
//
// probe/fma: buf dst (one vector of float32). Units: rounds of kProbeChains independent multiply-adds of one vector,
//            2 * kProbeChains * lanes operations each; enough chains to fill the pipelines of any processor.
#ifndef WALLE_KERNELS_PROBE_HPP
#define WALLE_KERNELS_PROBE_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/gemm_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kProbeChains = 12;

inline void probe_fma(const walle_call* call) {
  float* dst = static_cast<float*>(call->buf[0]);
  F32 acc[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) acc[i] = F32::set(float(i));
  const F32 a = F32::set(0.999f), b = F32::set(0.001f);
  for (int64_t unit = call->begin; unit < call->end; ++unit)
#pragma GCC unroll 12
    for (int i = 0; i < kProbeChains; ++i) acc[i] = pin(madd(acc[i], a, b));
  F32 sum = acc[0];
  for (int i = 1; i < kProbeChains; ++i) sum = add(sum, acc[i]);
  if (call->thread == 0) sum.store(dst);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_PROBE_ROWS {"probe", "fma", "float32", ::walle::WALLE_ISA::probe_fma},
#endif
