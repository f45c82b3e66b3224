// Which of the compiled tables this CPU and operating system can run.
#ifndef WALLE_NEON_PROBE_HPP
#define WALLE_NEON_PROBE_HPP
// in features.cpp, which asks the operating system
bool walle_has_fp16();
bool walle_has_dotprod();
bool walle_has_i8mm();
bool walle_has_bf16();
#define HAS(feature) walle_has_##feature()

#include "walle/choices.hpp"
#endif
