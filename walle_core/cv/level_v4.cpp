// The pixel functions for x86-64 processors of level 4 (System V ABI supplement, "micro-architecture levels").
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "no-math-errno")  // else comparisons and floor stay scalar
#pragma GCC target("arch=x86-64-v4")
#define WALLE_CV_LEVEL v4
#include "walle/cv/functions.hpp"
WALLE_CV_EXPORT(walle_cv_v4)
#else
#include "walle/cv/image.hpp"
extern "C" __attribute__((visibility("hidden"))) const walle_cv_row* walle_cv_v4() { return nullptr; }
#endif
