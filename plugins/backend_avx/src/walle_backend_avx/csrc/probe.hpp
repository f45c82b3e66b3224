// Which of the compiled tables this CPU and operating system can run.
#ifndef WALLE_AVX_PROBE_HPP
#define WALLE_AVX_PROBE_HPP
#define HAS(feature) (__builtin_cpu_supports(#feature) != 0)

#include "walle/choices.hpp"
#endif
