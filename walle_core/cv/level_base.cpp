// The pixel functions for any processor.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "no-math-errno")  // else comparisons and floor stay scalar
#endif
#define WALLE_CV_LEVEL base
#include "walle/cv/functions.hpp"
WALLE_CV_EXPORT(walle_cv_base)
