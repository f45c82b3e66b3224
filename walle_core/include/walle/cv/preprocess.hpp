// What stands between a picture and a network in one pass: resize, channels, mean and norm, layout.
#ifndef WALLE_CV_PREPROCESS_HPP
#define WALLE_CV_PREPROCESS_HPP
#define WALLE_CV_PREPROCESS_ROWS {"preprocess", preprocess},

namespace walle { namespace cv { namespace {

// in: bytes of 1, 3 or 4 channels; out: float32, rows of pixels or (planes) C × H × W. args: interpolation, source
// pixels per pixel in x and y, whether planes, channels of out, gray (place of blue, or -1), then for each of 4 channels
// the one of in, mean and norm: (value - mean) * norm
inline int preprocess(const Image* in, int, const Image* out, const double* args) {
  const Image& s = in[0];
  const bool planes = args[3] != 0;
  const int64_t c = int64_t(args[4]), h = planes ? out[0].w : out[0].h, w = planes ? out[0].c : out[0].w;
  const int blue = int(args[5]), kind = args[0] == NEAREST ? int(NEAREST) : int(LINEAR);
  if (!has_bilinear_bytes(s)) return BAD_TYPE;
  Axis x(s.w, w, args[1], kind), y(s.h, h, args[2], kind);
  if (!x || !y) return NO_MEMORY;
  BilinearRows rows(s, x, kind == LINEAR ? w : 0);
  if (!rows) return NO_MEMORY;
  float* to = reinterpret_cast<float*>(out[0].data);
  uint8_t block[BLOCK * 4 + SPARE], part[4][BLOCK];
  const bool same = s.w == w && s.h == h;
  for (int64_t i = 0; i < h && goes_on(out[0]); ++i)
    for (int64_t x0 = 0; x0 < w; x0 += BLOCK) {
      const int n = int(least<int64_t>(BLOCK, w - x0));
      const uint8_t* pixels = block;
      if (same) pixels = row<uint8_t>(s, i) + x0 * s.c;
      else if (kind == LINEAR) rows.row_of(y, i, x0, block, n);
      else for (int k = 0; k < n; ++k) std::memcpy(block + k * s.c, row<uint8_t>(s, y.from[i]) + x.from[x0 + k] * s.c, s.c);
      if (s.c == 1) std::memcpy(part[0], pixels, n);
      else take_apart(pixels, s.c, part[0], part[1], part[2], n);
      if (blue >= 0) gray_block(part[blue], part[1], part[2 - blue], part[0], n);
      if (c == 4 && s.c == 4) for (int k = 0; k < n; ++k) part[3][k] = pixels[4 * k + 3];
      for (int64_t k = 0; k < c; ++k) {
        const int64_t from = int64_t(args[6 + 3 * k]);
        const float mean = float(args[7 + 3 * k]), norm = float(args[8 + 3 * k]);
        const uint8_t* p = part[from];
        if (planes) {
          float* o = to + (k * h + i) * w + x0;
          for (int j = 0; j < n; ++j) o[j] = (float(p[j]) - mean) * norm;
        } else if (c == 3) {
          float* o = to + (i * w + x0) * 3 + k;
          for (int j = 0; j < n; ++j) o[3 * j] = (float(p[j]) - mean) * norm;
        } else {
          float* o = to + (i * w + x0) * c + k;
          for (int j = 0; j < n; ++j) o[c * j] = (float(p[j]) - mean) * norm;
        }
      }
    }
  return OK;
}
}}}  // namespace
#endif
