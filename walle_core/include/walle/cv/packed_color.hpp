// Colours in two bytes (5, 5 or 6, 5 bits), luma with colour at half the resolution (BT.601, 20 bits behind the point), and
// colours times alpha.
#ifndef WALLE_CV_PACKED_COLOR_HPP
#define WALLE_CV_PACKED_COLOR_HPP
#define WALLE_CV_PACKED_COLOR_ROWS                                              \
  {"to_5x5", to_5x5}, {"from_5x5", from_5x5}, {"from_420", from_420}, {"to_420", to_420}, \
  {"from_422", from_422}, {"times_alpha", times_alpha},

namespace walle { namespace cv { namespace {

// in: 1, 3 or 4 channels of bytes; out: two bytes. args: place of blue, bits of green
inline int to_5x5(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const int64_t blue = s.c == 1 ? 0 : int64_t(args[0]), green = s.c == 1 ? 0 : 1, red = s.c == 1 ? 0 : 2 - blue;
  const bool six = args[1] == 6;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const uint8_t* p = row<uint8_t>(s, y);
    uint8_t* q = row<uint8_t>(d, y);
    for (int64_t x = 0; x < d.w; ++x, p += s.c) {
      const int b = p[blue], g = p[green], r = p[red], a = s.c == 4 && p[3] ? 0x8000 : 0;
      const uint16_t v = uint16_t(six ? b >> 3 | (g & ~3) << 3 | (r & ~7) << 8 : b >> 3 | (g & ~7) << 2 | (r & ~7) << 7 | a);
      std::memcpy(q + 2 * x, &v, 2);
    }
  }
  return OK;
}
// in: two bytes; out: 1, 3 or 4 channels. args as above
inline int from_5x5(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const int64_t blue = int64_t(args[0]);
  const bool six = args[1] == 6;
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const uint8_t* p = row<uint8_t>(s, y);
    uint8_t* q = row<uint8_t>(d, y);
    for (int64_t x = 0; x < d.w; ++x, q += d.c) {
      uint16_t v;
      std::memcpy(&v, p + 2 * x, 2);
      const int b = v << 3 & 0xF8, g = six ? v >> 3 & 0xFC : v >> 2 & 0xF8, r = six ? v >> 8 & 0xF8 : v >> 7 & 0xF8;
      if (d.c == 1) {
        q[0] = uint8_t((b * 3735 + g * 19235 + r * 9798 + (1 << 14)) >> 15);
        continue;
      }
      q[blue] = uint8_t(b), q[1] = uint8_t(g), q[2 - blue] = uint8_t(r);
      if (d.c == 4) q[3] = six || v & 0x8000 ? 255 : 0;
    }
  }
  return OK;
}

// The pairs of u and v of row y / 2: step bytes apart.
struct Chroma { const uint8_t *u, *v; int64_t step; };
inline Chroma chroma_of(const Image* in, int inputs, int64_t y, int64_t h, int64_t w, bool planar, bool swapped) {
  Chroma c;
  if (planar) {  // two planes, each row of the image holds two of theirs
    const int64_t rows = h / 2, at = y / 2, other = rows + at;
    c.u = row<uint8_t>(in[0], h + at / 2) + at % 2 * (w / 2);
    c.v = row<uint8_t>(in[0], h + other / 2) + other % 2 * (w / 2);
    c.step = 1;
  } else {
    c.u = inputs > 1 ? row<uint8_t>(in[1], y / 2) : row<uint8_t>(in[0], h + y / 2);
    c.v = c.u + 1;
    c.step = 2;
  }
  if (swapped) {
    const uint8_t* other = c.u;
    c.u = c.v, c.v = other;
  }
  return c;
}
// What u and v add to blue, green and red.
inline void colour_of(int u, int v, int& blue, int& green, int& red) {
  const int half = 1 << 19;
  blue = half + 2116026 * u, green = half - 852492 * v - 409993 * u, red = half + 1673527 * v;
}
inline void put_luma(const uint8_t* luma, int64_t step, const int (*p)[BLOCK], int blue, uint8_t* d, int64_t c, int n) {
  uint8_t q[3][BLOCK];
  for (int k = 0; k < 3; ++k)
    for (int i = 0; i < n; ++i) q[k][i] = To<uint8_t>::of((most(luma[i * step] - 16, 0) * 1220542 + p[k][i]) >> 20);
  put_together(d, c, q[blue], q[1], q[2 - blue], uint8_t(255), n);
}
// in: 3/2 h rows, or luma and pairs of colour. args: place of blue, whether planes, whether v comes first
inline int from_420(const Image* in, int inputs, const Image* out, const double* args) {
  const Image& d = out[0];
  const int blue = int(args[0]);
  int p[3][BLOCK];
  for (int64_t y = 0; y < d.h && goes_on(d); ++y) {
    const Chroma c = chroma_of(in, inputs, y, d.h, d.w, args[1] != 0, args[2] != 0);
    for (int64_t x0 = 0; x0 < d.w; x0 += BLOCK) {
      const int n = int(least<int64_t>(BLOCK, d.w - x0));
      for (int i = 0; i < n; i += 2) {
        const int64_t at = (x0 + i) / 2 * c.step;
        colour_of(c.u[at] - 128, c.v[at] - 128, p[0][i], p[1][i], p[2][i]);
        for (int k = 0; k < 3; ++k) p[k][i + 1] = p[k][i];
      }
      put_luma(row<uint8_t>(in[0], y) + x0, 1, p, blue, row<uint8_t>(d, y) + x0 * d.c, d.c, n);
    }
  }
  return OK;
}
// in: two channels, luma with u and v by turns. args: place of blue, of luma in a pixel, of u in two pixels
inline int from_422(const Image* in, int, const Image* out, const double* args) {
  const Image& d = out[0];
  const int blue = int(args[0]), luma = int(args[1]), u = int(args[2]), v = u ^ 2;
  int p[3][BLOCK];
  for (int64_t y = 0; y < d.h && goes_on(d); ++y)
    for (int64_t x0 = 0; x0 < d.w; x0 += BLOCK) {
      const int n = int(least<int64_t>(BLOCK, d.w - x0));
      const uint8_t* s = row<uint8_t>(in[0], y) + 2 * x0;
      for (int i = 0; i < n; i += 2) {
        colour_of(s[2 * i + u] - 128, s[2 * i + v] - 128, p[0][i], p[1][i], p[2][i]);
        for (int k = 0; k < 3; ++k) p[k][i + 1] = p[k][i];
      }
      put_luma(s + luma, 2, p, blue, row<uint8_t>(d, y) + x0 * d.c, d.c, n);
    }
  return OK;
}
// Four channels of bytes: the first three times the fourth over 255, or back. args: whether back
inline int times_alpha(const Image* in, int, const Image* out, const double* args) {
  const bool back = args[0] != 0;
  for (int64_t y = 0; y < out[0].h && goes_on(out[0]); ++y) {
    const uint8_t* s = row<uint8_t>(in[0], y);
    uint8_t* d = row<uint8_t>(out[0], y);
    for (int64_t i = 0; i < 4 * out[0].w; i += 4) {
      const int a = s[i + 3];
      for (int k = 0; k < 3; ++k)
        d[i + k] = !back ? uint8_t((s[i + k] * a + 127) / 255) : a ? To<uint8_t>::of((s[i + k] * 255 + a / 2) / a) : uint8_t(0);
      d[i + 3] = uint8_t(a);
    }
  }
  return OK;
}
// in: 3 or 4 channels; out: 3/2 h rows with planes. args: place of blue, -, whether v comes first
inline int to_420(const Image* in, int, const Image* out, const double* args) {
  const Image &s = in[0], &d = out[0];
  const int64_t blue = int64_t(args[0]);
  for (int64_t y = 0; y < s.h && goes_on(s); ++y) {
    const uint8_t* p = row<uint8_t>(s, y);
    const Chroma c = chroma_of(&d, 1, y, s.h, s.w, true, args[2] != 0);
    for (int64_t x = 0; x < s.w; ++x, p += s.c) {
      const int b = p[blue], g = p[1], r = p[2 - blue];
      row<uint8_t>(d, y)[x] = To<uint8_t>::of((269484 * r + 528482 * g + 102760 * b + (1 << 19) + (16 << 20)) >> 20);
      if (y % 2 || x % 2) continue;
      const_cast<uint8_t*>(c.u)[x / 2] = To<uint8_t>::of((-155188 * r - 305135 * g + 460324 * b + (1 << 19) + (128 << 20)) >> 20);
      const_cast<uint8_t*>(c.v)[x / 2] = To<uint8_t>::of((460324 * r - 385875 * g - 74448 * b + (1 << 19) + (128 << 20)) >> 20);
    }
  }
  return OK;
}
}}}  // namespace
#endif
