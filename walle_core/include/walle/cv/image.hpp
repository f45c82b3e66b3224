// What every pixel function is made of: images as raw pointers, element types, rounding, borders, scratch memory.
//
// A function reads `in` and writes `out`, which its caller has allocated with the right size and type. It returns OK,
// or why it did nothing. `args` are the numbers of its own, in the order that its comment gives.
#ifndef WALLE_CV_IMAGE_HPP
#define WALLE_CV_IMAGE_HPP
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "walle/stop.hpp"

struct walle_cv_image {
  char* data;
  int64_t h, w, c, stride;  // stride: bytes from row to row
  int depth;                // of OpenCV: 0 uint8, 1 int8, 2 uint16, 3 int16, 4 int32, 5 float32, 6 float64
  const walle_stop* stop;   // of the run that the image is worked on for; null: nobody can stop it
};
typedef int (*walle_cv_function)(const walle_cv_image* in, int inputs, const walle_cv_image* out, const double* args);
struct walle_cv_row {
  const char* name;
  walle_cv_function call;
};

// A level's header set is compiled with all its functions internal; images and rows above are plain data.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inline functions only
#endif
#ifdef WALLE_CV_LEVEL
namespace walle { namespace cv { namespace {

enum Status { OK = 0, BAD_TYPE = 1, NO_MEMORY = 2, BAD_ARGUMENT = 3 };
enum Depth { U8, S8, U16, S16, S32, F32, F64 };
enum Border { CONSTANT, REPLICATE, REFLECT, WRAP, REFLECT101, TRANSPARENT };
typedef walle_cv_image Image;

template <class A> inline A least(A a, A b) { return b < a ? b : a; }
template <class A> inline A most(A a, A b) { return a < b ? b : a; }
template <class A> inline A within(A v, A lo, A hi) { return v < lo ? lo : hi < v ? hi : v; }

// Asked before each row: false if the run is to stop. What is done so far is left as it is, and nobody uses it.
inline bool goes_on(const Image& m) { return !walle_stopped(m.stop); }

template <class T> inline T* row(const Image& m, int64_t y) { return reinterpret_cast<T*>(m.data + y * m.stride); }

// Memory that ends with its scope; `bool` tells whether it is there. 64 bytes behind it may be touched.
template <class T> struct Scratch {
  T* p;
  explicit Scratch(int64_t n) : p(static_cast<T*>(__builtin_malloc(static_cast<size_t>(n) * sizeof(T) + 64))) {}
  ~Scratch() { __builtin_free(p); }
  Scratch(const Scratch&) = delete;
  explicit operator bool() const { return p != nullptr; }
  T& operator[](int64_t i) const { return p[i]; }
};

// Rounding to nearest even without a call: the sum's last bits are the integer. For |v| < 2^22.
inline int round_small(float v) {
  float s = v + 12582912.f;
  int32_t bits;
  std::memcpy(&bits, &s, 4);
  return bits - 0x4B400000;
}
// The next integer below, without a call; for |v| < 2^31.
inline int32_t floor_small(float v) {
  const int32_t whole = int32_t(v);
  return whole - (float(whole) > v ? 1 : 0);
}
template <class T> struct To;
#define WALLE_CV_TO(T, LO, HI)                                                                           \
  template <> struct To<T> {                                                                             \
    static T of(int v) { return static_cast<T>(within<int>(v, LO, HI)); }                                \
    static T of(float v) { return static_cast<T>(round_small(within<float>(v, LO, HI))); }               \
    static T of(double v) { return static_cast<T>(round_small(within<float>(float(__builtin_rint(within<double>(v, LO, HI))), LO, HI))); } \
  };
WALLE_CV_TO(uint8_t, 0, 255)
WALLE_CV_TO(int8_t, -128, 127)
WALLE_CV_TO(uint16_t, 0, 65535)
WALLE_CV_TO(int16_t, -32768, 32767)
#undef WALLE_CV_TO
template <> struct To<int32_t> {
  static int32_t of(int v) { return v; }
  static int32_t of(double v) { return static_cast<int32_t>(__builtin_rint(within<double>(v, -2147483648.0, 2147483647.0))); }
  static int32_t of(float v) { return of(double(v)); }
};
template <> struct To<float> { template <class A> static float of(A v) { return static_cast<float>(v); } };
template <> struct To<double> { template <class A> static double of(A v) { return static_cast<double>(v); } };

// Calls F<T>::run(...) for the type of a depth.
template <template <class> class F, class... A> inline int by_depth(int depth, A&&... a) {
  switch (depth) {
    case U8: return F<uint8_t>::run(a...);
    case S8: return F<int8_t>::run(a...);
    case U16: return F<uint16_t>::run(a...);
    case S16: return F<int16_t>::run(a...);
    case S32: return F<int32_t>::run(a...);
    case F32: return F<float>::run(a...);
    case F64: return F<double>::run(a...);
    default: return BAD_TYPE;
  }
}

inline double number(const Image& m, int64_t y, int64_t i) {  // any element as a double
  switch (m.depth) {
    case U8: return row<uint8_t>(m, y)[i];
    case S8: return row<int8_t>(m, y)[i];
    case U16: return row<uint16_t>(m, y)[i];
    case S16: return row<int16_t>(m, y)[i];
    case S32: return row<int32_t>(m, y)[i];
    case F32: return row<float>(m, y)[i];
    default: return row<double>(m, y)[i];
  }
}
inline int64_t size_of(int depth) { return depth <= S8 ? 1 : depth <= S16 ? 2 : depth == F64 ? 8 : 4; }

// Where an index beyond the edge reads: an index within, or -1 for the border's constant.
inline int64_t border_index(int64_t p, int64_t n, int border) {
  if (p >= 0 && p < n) return p;
  switch (border) {
    case REPLICATE: return p < 0 ? 0 : n - 1;
    case WRAP: return ((p % n) + n) % n;
    case REFLECT:
    case REFLECT101: {
      if (n == 1) return 0;
      int64_t skip = border == REFLECT101, period = 2 * (n - skip), q = ((p % period) + period) % period;
      return q < n ? q : period - q - 1 + skip;
    }
    default: return -1;
  }
}
}}}  // namespace
#endif
#endif
