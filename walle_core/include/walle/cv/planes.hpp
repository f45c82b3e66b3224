// Blocks of pixels as planes: three channels are taken apart, worked on as vectors, and put together again.
#ifndef WALLE_CV_PLANES_HPP
#define WALLE_CV_PLANES_HPP

namespace walle { namespace cv { namespace {

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
inline Bytes16 load16(const void* p) { Bytes16 v; std::memcpy(&v, p, 16); return v; }
inline void store16(void* p, Bytes16 v) { std::memcpy(p, &v, 16); }

const int BLOCK = 512;  // pixels

// 48 bytes of three channels as three vectors of 16
inline void apart3(const uint8_t* s, Bytes16& a, Bytes16& b, Bytes16& c) {
  const Bytes16 x = load16(s), y = load16(s + 16), z = load16(s + 32);
  const Bytes16 xy0 = {0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0};
  const Bytes16 xy1 = {1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0};
  const Bytes16 xy2 = {2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0};
  const Bytes16 z0 = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29};
  const Bytes16 z1 = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30};
  const Bytes16 z2 = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31};
  a = __builtin_shuffle(__builtin_shuffle(x, y, xy0), z, z0);
  b = __builtin_shuffle(__builtin_shuffle(x, y, xy1), z, z1);
  c = __builtin_shuffle(__builtin_shuffle(x, y, xy2), z, z2);
}
inline void together3(uint8_t* d, Bytes16 a, Bytes16 b, Bytes16 c) {
  const Bytes16 ab0 = {0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5};
  const Bytes16 ab1 = {21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26};
  const Bytes16 ab2 = {0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0};
  const Bytes16 c0 = {0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15};
  const Bytes16 c1 = {0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15};
  const Bytes16 c2 = {26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31};
  store16(d, __builtin_shuffle(__builtin_shuffle(a, b, ab0), c, c0));
  store16(d + 16, __builtin_shuffle(__builtin_shuffle(a, b, ab1), c, c1));
  store16(d + 32, __builtin_shuffle(__builtin_shuffle(a, b, ab2), c, c2));
}

// n <= BLOCK pixels of `step` channels; the first three become planes.
template <class T> inline void take_apart(const T* s, int64_t step, T* a, T* b, T* c, int n) {
  if (step == 4) for (int i = 0; i < n; ++i) a[i] = s[4 * i], b[i] = s[4 * i + 1], c[i] = s[4 * i + 2];
  else for (int i = 0; i < n; ++i) a[i] = s[3 * i], b[i] = s[3 * i + 1], c[i] = s[3 * i + 2];
}
inline void take_apart(const uint8_t* s, int64_t step, uint8_t* a, uint8_t* b, uint8_t* c, int n) {
  int i = 0;
  if (step == 3)
    for (; i + 16 <= n; i += 16) {
      Bytes16 x, y, z;
      apart3(s + 3 * i, x, y, z);
      store16(a + i, x), store16(b + i, y), store16(c + i, z);
    }
  take_apart<uint8_t>(s + i * step, step, a + i, b + i, c + i, n - i);
}
// The reverse, into 1, 3 or 4 channels; the fourth is `alpha`.
template <class T> inline void put_together(T* d, int64_t step, const T* a, const T* b, const T* c, T alpha, int n) {
  if (step == 1) for (int i = 0; i < n; ++i) d[i] = a[i];
  else if (step == 4) for (int i = 0; i < n; ++i) d[4 * i] = a[i], d[4 * i + 1] = b[i], d[4 * i + 2] = c[i], d[4 * i + 3] = alpha;
  else for (int i = 0; i < n; ++i) d[3 * i] = a[i], d[3 * i + 1] = b[i], d[3 * i + 2] = c[i];
}
inline void put_together(uint8_t* d, int64_t step, const uint8_t* a, const uint8_t* b, const uint8_t* c, uint8_t alpha, int n) {
  int i = 0;
  if (step == 3)
    for (; i + 16 <= n; i += 16) together3(d + 3 * i, load16(a + i), load16(b + i), load16(c + i));
  put_together<uint8_t>(d + i * step, step, a + i, b + i, c + i, alpha, n - i);
}
template <class T> inline T opaque() { return T(~T(0)); }
template <> inline float opaque<float>() { return 1.f; }
}}}  // namespace
#endif
