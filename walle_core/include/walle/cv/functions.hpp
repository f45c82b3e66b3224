// Every pixel function by name, for one level of processors: included by level_*.cpp only.
#ifndef WALLE_CV_LEVEL
#error "compile a level_*.cpp, not this header"
#endif
#include "walle/cv/image.hpp"
#include "walle/cv/rows.hpp"
#include "walle/cv/planes.hpp"
#include "walle/cv/arrange.hpp"
#include "walle/cv/arithmetic.hpp"
#include "walle/cv/color.hpp"
#include "walle/cv/filter.hpp"
#include "walle/cv/morphology.hpp"
#include "walle/cv/median.hpp"
#include "walle/cv/smooth.hpp"
#include "walle/cv/pyramid.hpp"
#include "walle/cv/sample.hpp"
#include "walle/cv/resize.hpp"
#include "walle/cv/warp.hpp"
#include "walle/cv/maps.hpp"
#include "walle/cv/preprocess.hpp"

#define WALLE_CV_EXPORT(NAME)                                                                            \
  extern "C" __attribute__((visibility("hidden"))) const walle_cv_row* NAME() {                          \
    using namespace walle::cv;                                                                           \
    static const walle_cv_row rows[] = {                                                                 \
        WALLE_CV_ARRANGE_ROWS WALLE_CV_ARITHMETIC_ROWS WALLE_CV_COLOR_ROWS WALLE_CV_FILTER_ROWS          \
        WALLE_CV_MORPHOLOGY_ROWS WALLE_CV_MEDIAN_ROWS WALLE_CV_SMOOTH_ROWS WALLE_CV_PYRAMID_ROWS         \
        WALLE_CV_RESIZE_ROWS WALLE_CV_WARP_ROWS WALLE_CV_MAPS_ROWS WALLE_CV_PREPROCESS_ROWS              \
        {nullptr, nullptr}};                                                                             \
    return rows;                                                                                         \
  }
