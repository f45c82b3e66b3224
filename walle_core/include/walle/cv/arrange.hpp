// Pixels moved but not changed: flip, transpose, borders, channels, masks. They work on elements of any size.
#ifndef WALLE_CV_ARRANGE_HPP
#define WALLE_CV_ARRANGE_HPP

#define WALLE_CV_ARRANGE_ROWS                                                                  \
  {"flip", flip}, {"transpose", transpose}, {"copy_border", copy_border}, {"paste", paste},    \
  {"merge", merge}, {"channel", channel}, {"copy_masked", copy_masked},

namespace walle { namespace cv { namespace {

inline int64_t pixel_size(const Image& m) { return m.c * size_of(m.depth); }

template <int64_t N> inline void reverse_pixels(char* d, const char* s, int64_t w, int64_t n) {
  if (N) n = N;
  for (int64_t x = 0; x < w; ++x) std::memcpy(d + x * n, s + (w - 1 - x) * n, N ? N : n);
}
// args: upside down, left to right
inline int flip(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const int64_t n = pixel_size(s);
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const char* from = row<char>(s, args[0] != 0 ? s.h - 1 - y : y);
    char* to = row<char>(d, y);
    if (args[1] == 0) std::memcpy(to, from, s.w * n);
    else if (n == 1) reverse_pixels<1>(to, from, s.w, n);
    else if (n == 3) reverse_pixels<3>(to, from, s.w, n);
    else if (n == 4) reverse_pixels<4>(to, from, s.w, n);
    else reverse_pixels<0>(to, from, s.w, n);
  }
  return OK;
}

template <int64_t N> inline void transpose_pixels(const Image& s, const Image& d, int64_t n) {
  if (N) n = N;
  const int64_t block = 32;
  for (int64_t y0 = 0; y0 < d.h && goes_on(d); y0 += block)
    for (int64_t x0 = 0; x0 < d.w; x0 += block)
      for (int64_t y = y0; y < least(d.h, y0 + block); ++y) {
        char* to = row<char>(d, y);
        for (int64_t x = x0; x < least(d.w, x0 + block); ++x) std::memcpy(to + x * n, row<char>(s, x) + y * n, N ? N : n);
      }
}
inline int transpose(const Image* in, int, const Image* out, const double*) {
  const int64_t n = pixel_size(in[0]);
  if (n == 1) transpose_pixels<1>(in[0], out[0], n);
  else if (n == 3) transpose_pixels<3>(in[0], out[0], n);
  else if (n == 4) transpose_pixels<4>(in[0], out[0], n);
  else transpose_pixels<0>(in[0], out[0], n);
  return OK;
}

// in[1]: one pixel, the constant of the border. args: top, left, border
inline int copy_border(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const int64_t n = pixel_size(s), top = int64_t(args[0]), left = int64_t(args[1]);
  const int border = int(args[2]);
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const int64_t sy = border_index(y - top, s.h, border);
    char* to = row<char>(d, y);
    for (int64_t x = 0; x < d.w; ++x) {
      const int64_t sx = border_index(x - left, s.w, border);
      if (sx == 0 && sy >= 0 && x == left) {
        std::memcpy(to + x * n, row<char>(s, sy), s.w * n);
        x += s.w - 1;
      } else {
        std::memcpy(to + x * n, sx < 0 || sy < 0 ? in[1].data : row<char>(s, sy) + sx * n, n);
      }
    }
  }
  return OK;
}

// args: row and column of out where in's upper left pixel goes; what would be outside is left out
inline int paste(const Image* in, int, const Image* out, const double* args) {
  const int64_t n = pixel_size(in[0]), y0 = int64_t(args[0]), x0 = int64_t(args[1]);
  for (int64_t y = 0; y < least(in[0].h, out[0].h - y0) && goes_on(out[0]); ++y)
    std::memcpy(row<char>(out[0], y0 + y) + x0 * n, row<char>(in[0], y), least(in[0].w, out[0].w - x0) * n);
  return OK;
}

template <int64_t N> inline void copy_strided(char* d, int64_t ld, const char* s, int64_t ls, int64_t w) {
  for (int64_t x = 0; x < w; ++x) std::memcpy(d + x * ld, s + x * ls, N);
}
inline void copy_elements(char* d, int64_t ld, const char* s, int64_t ls, int64_t w, int64_t n) {
  if (n == 1) copy_strided<1>(d, ld, s, ls, w);
  else if (n == 2) copy_strided<2>(d, ld, s, ls, w);
  else if (n == 4) copy_strided<4>(d, ld, s, ls, w);
  else copy_strided<8>(d, ld, s, ls, w);
}
// in: images of one size and type; out: all their channels
inline int merge(const Image* in, int inputs, const Image* out, const double*) {
  const int64_t n = size_of(out[0].depth), to = pixel_size(out[0]);
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    char* d = row<char>(out[0], y);
    for (int i = 0; i < inputs; ++i)
      for (int64_t k = 0; k < in[i].c; ++k, d += n) copy_elements(d, to, row<char>(in[i], y) + k * n, pixel_size(in[i]), out[0].w, n);
  }
  return OK;
}
// args: the channel
inline int channel(const Image* in, int, const Image* out, const double* args) {
  const int64_t n = size_of(out[0].depth);
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y)
    copy_elements(row<char>(out[0], y), n, row<char>(in[0], y) + int64_t(args[0]) * n, pixel_size(in[0]), out[0].w, n);
  return OK;
}

// in: source, mask of bytes with 1 channel or the source's; out is changed where the mask is not 0
inline int copy_masked(const Image* in, int, const Image* out, const double*) {
  const bool each = in[1].c > 1;
  const int64_t n = each ? size_of(in[0].depth) : pixel_size(in[0]), count = each ? in[0].w * in[0].c : in[0].w;
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const char *s = row<char>(in[0], y), *m = row<char>(in[1], y);
    char* d = row<char>(out[0], y);
    for (int64_t x = 0; x < count; ++x)
      if (m[x]) std::memcpy(d + x * n, s + x * n, n);
  }
  return OK;
}
}}}  // namespace
#endif
