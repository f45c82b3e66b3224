// Winograd's minimal filtering F(u x u, 3x3), u in {2, 4, 6}: 3x3 convolution with stride 1, dilation 1, group 1.
//
// Activations are [n][h][w][c]; vectors run along channels. Y = A^T [ (G g G^T) . (B^T d B) ] A with the Cook-Toom
// matrices of the points 0, +-p1, +-p2, ..., infinity (Lavin and Gray 2016; the points of F(4) keep the transforms'
// error near 1e-6 of the output's scale, those of F(6) near 1e-5). Sum over input channels = one GEMM per point.
// A block of tiles goes through input transform, GEMM and output transform while it is in the second-level cache;
// the transformed weights stream once per block.
//
// family winograd
//   op pack_F<u>   buf: u, w                arg: k, c
//     w: [k][c][3][3]; u: [ceil(k/kNr)][(u+2)^2][c][kNr], zero padded. Transformed in float64. units: panels of kNr.
//   op F<u>        buf: dst, src, u, bias[k] (or null), residual (or null), scratch
//     arg: n, h, w, c, oh, ow, k, pad_top, pad_left, ld_dst, ld_residual (elements from pixel to pixel),
//          block (tiles per block), groups (panel groups), scratch floats per thread,
//          activation code, f(alpha), f(beta)
//     dst: [n][oh][ow] pixels of k channels; tiles are numbered row-major over [n][ceil(oh/u)][ceil(ow/u)].
//     units: ceil(tiles/block) * groups, groups innermost; each group is ceil(panels/groups) panels of kNr channels.
//     scratch: threads * winograd scratch floats, see `scratch_floats` in backends/table/winograd.py.
#ifndef WALLE_KERNELS_WINOGRAD_HPP
#define WALLE_KERNELS_WINOGRAD_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"
#include "walle/kernels/activation.hpp"
#include "walle/kernels/gemm_tile.hpp"

#define WALLE_WINOGRAD_ROWS                                                       \
  {"winograd", "pack_F2", "float32", walle::WALLE_ISA::winograd_pack<2>},         \
  {"winograd", "pack_F4", "float32", walle::WALLE_ISA::winograd_pack<4>},         \
  {"winograd", "pack_F6", "float32", walle::WALLE_ISA::winograd_pack<6>},         \
  {"winograd", "F2", "float32", walle::WALLE_ISA::winograd<2>},                   \
  {"winograd", "F4", "float32", walle::WALLE_ISA::winograd<4>},                   \
  {"winograd", "F6", "float32", walle::WALLE_ISA::winograd<6>},

namespace walle { namespace WALLE_ISA { namespace {

template <int U> struct WinogradPoints;
template <> struct WinogradPoints<2> { static constexpr double p[1] = {1.0}; };
template <> struct WinogradPoints<4> { static constexpr double p[2] = {0.75, 1.5}; };
template <> struct WinogradPoints<6> { static constexpr double p[3] = {1.0, 2.0, 0.5}; };

// Coefficients of the one-dimensional transforms. Points come in pairs +-p, so a transform is a sum of an even and
// an odd part: with x = p^2, Q_j(x) = prod_{i != j} (x - p_i^2) and R(x) = prod_i (x - p_i^2).
template <int U> struct WinogradTransform {
  static constexpr int pairs = U / 2, n = U + 2;
  double q[pairs][pairs] = {}, r[pairs + 1] = {}, power[pairs][U] = {}, g[n][3] = {};

  constexpr WinogradTransform() {
    const double* p = WinogradPoints<U>::p;
    for (int j = 0; j <= pairs; ++j) {  // j == pairs: all factors, that is R
      double c[pairs + 1] = {1.0};
      int degree = 0;
      for (int i = 0; i < pairs; ++i) {
        if (i == j) continue;
        for (int d = ++degree; d >= 0; --d) c[d] = (d ? c[d - 1] : 0.0) - p[i] * p[i] * c[d];
      }
      for (int d = 0; d <= degree; ++d) (j == pairs ? r[d] : q[j < pairs ? j : 0][d < pairs ? d : 0]) = c[d];
    }
    for (int j = 0; j < pairs; ++j)
      for (int i = 0; i < U; ++i) power[j][i] = i ? power[j][i - 1] * p[j] : 1.0;
    double norm0 = 1.0;
    for (int i = 0; i < pairs; ++i) norm0 *= -p[i] * p[i];
    g[0][0] = 1.0 / norm0;
    for (int j = 0; j < pairs; ++j) {
      double norm = 2.0 * p[j] * p[j];
      for (int i = 0; i < pairs; ++i) norm *= i == j ? 1.0 : p[j] * p[j] - p[i] * p[i];
      for (int k = 0; k < 3; ++k) {
        const double pk = k == 0 ? 1.0 : k == 1 ? p[j] : p[j] * p[j];
        g[2 * j + 1][k] = pk / norm;
        g[2 * j + 2][k] = (k == 1 ? -pk : pk) / norm;
      }
    }
    g[n - 1][2] = 1.0;
  }

  // v = B^T d
  static inline __attribute__((always_inline)) void input(const F32 (&d)[n], F32 (&v)[n]) {
    constexpr WinogradTransform t;
    F32 first = d[2 * pairs], last = d[2 * pairs + 1];
#pragma GCC unroll 4
    for (int k = 0; k < pairs; ++k) {
      first = madd(F32::set(float(t.r[k])), d[2 * k], first);
      last = madd(F32::set(float(t.r[k])), d[2 * k + 1], last);
    }
    v[0] = first;
    v[n - 1] = last;
#pragma GCC unroll 4
    for (int j = 0; j < pairs; ++j) {
      F32 even = d[2 * pairs], odd = d[2 * pairs - 1];
#pragma GCC unroll 4
      for (int k = 0; k < pairs - 1; ++k) {
        even = madd(F32::set(float(t.q[j][k])), d[2 * k + 2], even);
        odd = madd(F32::set(float(t.q[j][k])), d[2 * k + 1], odd);
      }
      const F32 p = F32::set(float(WinogradPoints<U>::p[j]));
      v[2 * j + 1] = madd(p, odd, even);
      v[2 * j + 2] = fnma(p, odd, even);
    }
  }

  // y = A^T m
  static inline __attribute__((always_inline)) void output(const F32 (&m)[n], F32 (&y)[U]) {
    constexpr WinogradTransform t;
    F32 sum[pairs], diff[pairs];
#pragma GCC unroll 4
    for (int j = 0; j < pairs; ++j) {
      sum[j] = add(m[2 * j + 1], m[2 * j + 2]);
      diff[j] = sub(m[2 * j + 1], m[2 * j + 2]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < U; ++i) {
      const F32* s = i % 2 ? diff : sum;
      F32 acc = i == 0 ? add(m[0], s[0]) : mul(F32::set(float(t.power[0][i])), s[0]);
      if (i == U - 1) acc = add(acc, m[n - 1]);
#pragma GCC unroll 4
      for (int j = 1; j < pairs; ++j) acc = i ? madd(F32::set(float(t.power[j][i])), s[j], acc) : add(acc, s[j]);
      y[i] = acc;
    }
  }
};

template <int U> void winograd_pack(const walle_call* call) {
  constexpr int n = U + 2;
  constexpr WinogradTransform<U> t;
  float* dst = static_cast<float*>(call->buf[0]);
  const float* w = static_cast<const float*>(call->buf[1]);
  const int64_t k_count = call->arg[0], c_count = call->arg[1];
  for (int64_t panel = call->begin; panel < call->end; ++panel) {
    float* out = dst + panel * n * n * c_count * kNr;
    for (int64_t c = 0; c < c_count; ++c) {
      for (int lane = 0; lane < kNr; ++lane) {
        const int64_t k = panel * kNr + lane;
        double rows[n][3];
        const float* g = w + (k * c_count + c) * 9;
        for (int i = 0; i < n; ++i)
          for (int x = 0; x < 3; ++x)
            rows[i][x] = k < k_count ? t.g[i][0] * g[x] + t.g[i][1] * g[3 + x] + t.g[i][2] * g[6 + x] : 0.0;
        for (int i = 0; i < n; ++i)
          for (int j = 0; j < n; ++j)
            out[((i * n + j) * c_count + c) * kNr + lane] =
                float(rows[i][0] * t.g[j][0] + rows[i][1] * t.g[j][1] + rows[i][2] * t.g[j][2]);
      }
    }
  }
}

constexpr int kWinogradRun = 16;  // register tiles per call of a kernel

struct WinogradArgs {
  int64_t n, h, w, c, oh, ow, k, pad_top, pad_left, ld_dst, ld_residual, block, groups, scratch;
};

// One tile, all channels: v[point][c] = B^T d B; d starts at (y0, x0), elements outside the image are 0.
template <int U, bool kEdge>
void winograd_input(const WinogradArgs& a, const float* image, int64_t y0, int64_t x0, float* v, int64_t stride) {
  constexpr int n = U + 2;
  const int64_t h = a.h, w = a.w, c_count = a.c, row = w * c_count;
  const float* const origin = image + y0 * row + x0 * c_count;
  const auto vector = [&](int64_t c, auto load) __attribute__((always_inline)) {
    F32 columns[n][n];
    for (int j = 0; j < n; ++j) {
      F32 d[n], t[n];
      const float* p = origin + j * c_count + c;
      const bool outside = kEdge && uint64_t(x0 + j) >= uint64_t(w);
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i, p += row)
        d[i] = kEdge && (outside || uint64_t(y0 + i) >= uint64_t(h)) ? F32::set(0.0f) : pin(load(p));
      WinogradTransform<U>::input(d, t);
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i) columns[i][j] = t[i];
    }
    float* out = v + c;
    for (int i = 0; i < n; ++i) {
      F32 d[n], t[n];
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) d[j] = pin(columns[i][j]);
      WinogradTransform<U>::input(d, t);
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j, out += stride) t[j].store(out);
    }
  };
  int64_t c = 0;
  for (; c + F32::N <= c_count; c += F32::N) vector(c, [](const float* p) { return F32::load(p); });
  if (c < c_count) vector(c, [n = size_t(c_count - c)](const float* p) { return F32::load(p, n); });
}

// One tile, one panel of channels from k0: dst = activation(A^T m A + bias + residual).
template <int U>
void winograd_output(const WinogradArgs& a, const Activation& activation, const float* m, int64_t stride, int64_t k0,
                     int64_t oy, int64_t ox, float* dst, const float* bias, const float* residual) {
  constexpr int n = U + 2;
  const int64_t rows = a.oh - oy < U ? a.oh - oy : U, cols = a.ow - ox < U ? a.ow - ox : U;
  const int64_t ld_dst = a.ld_dst, ld_residual = a.ld_residual, ow = a.ow;
  const Activation act = activation;
  const auto vector = [&](const float* source, int64_t k, auto load, auto store) __attribute__((always_inline)) {
    const F32 b = bias ? load(bias + k) : F32::set(0.0f);
    F32 columns[U][n];
    for (int j = 0; j < n; ++j) {
      F32 d[n], t[U];
      const float* p = source + j * stride;
#pragma GCC unroll 8
      for (int i = 0; i < n; ++i, p += n * stride) d[i] = pin(F32::load(p));
      WinogradTransform<U>::output(d, t);
#pragma GCC unroll 8
      for (int i = 0; i < U; ++i) columns[i][j] = t[i];
    }
    for (int64_t i = 0; i < rows; ++i) {
      F32 d[n], t[U];
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) d[j] = pin(columns[i][j]);
      WinogradTransform<U>::output(d, t);
      float* out = dst + ((oy + i) * ow + ox) * ld_dst + k;
#pragma GCC unroll 8
      for (int j = 0; j < U; ++j) t[j] = add(t[j], b);
      if (residual) {
        const float* extra = residual + ((oy + i) * ow + ox) * ld_residual + k;
#pragma GCC unroll 8
        for (int j = 0; j < U; ++j)
          if (j < cols) t[j] = add(t[j], load(extra + j * ld_residual));
      }
      act.apply(t);
#pragma GCC unroll 8
      for (int j = 0; j < U; ++j)
        if (j < cols) store(out + j * ld_dst, t[j]);
    }
  };
  for (int64_t k = k0; k < a.k && k < k0 + kNr; k += F32::N, m += F32::N) {
    const size_t left = size_t(a.k - k);
    if (left >= size_t(F32::N))
      vector(m, k, [](const float* p) { return F32::load(p); }, [](float* p, F32 y) { y.store(p); });
    else
      vector(m, k, [left](const float* p) { return F32::load(p, left); },
             [left](float* p, F32 y) { y.store(p, left); });
  }
}

template <int U> void winograd(const walle_call* call) {
  constexpr int n = U + 2, points = n * n;
  const WinogradArgs& a = *reinterpret_cast<const WinogradArgs*>(call->arg);
  const Activation act = Activation::make(call->arg + sizeof(WinogradArgs) / sizeof(int64_t));
  const int64_t none[3] = {kActNone, 0, 0};
  const Activation identity = Activation::make(none);
  float* dst = static_cast<float*>(call->buf[0]);
  const float* src = static_cast<const float*>(call->buf[1]);
  const float* u = static_cast<const float*>(call->buf[2]);
  const float* bias = static_cast<const float*>(call->buf[3]);
  const float* residual = static_cast<const float*>(call->buf[4]);

  const int64_t tiles_x = (a.ow + U - 1) / U, tiles_y = (a.oh + U - 1) / U, tiles = a.n * tiles_y * tiles_x;
  const int64_t panels = (a.k + kNr - 1) / kNr, per_group = (panels + a.groups - 1) / a.groups;
  // Rows and points are an odd number of cache lines apart, so that they spread over the sets of the cache.
  const int64_t row = ((a.c + 15) / 16 | 1) * 16;
  const int64_t v_point = ((a.block * row / 16) | 1) * 16, m_point = ((a.block * kNr + 15) / 16 | 1) * 16;
  float* v = static_cast<float*>(call->buf[5]) + call->thread * a.scratch;
  float* m = v + points * v_point;

  int64_t transformed = -1;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const int64_t block = unit / a.groups, group = unit % a.groups;
    const int64_t first = block * a.block, count = tiles - first < a.block ? tiles - first : a.block;
    if (block != transformed) {
      for (int64_t t = 0; t < count; ++t) {
        const int64_t tile = first + t, x0 = tile % tiles_x * U - a.pad_left;
        const int64_t y0 = tile / tiles_x % tiles_y * U - a.pad_top;
        const float* image = src + tile / (tiles_x * tiles_y) * a.h * a.w * a.c;
        const bool inside = y0 >= 0 && x0 >= 0 && y0 + n <= a.h && x0 + n <= a.w;
        if (inside) winograd_input<U, false>(a, image, y0, x0, v + t * row, v_point);
        else winograd_input<U, true>(a, image, y0, x0, v + t * row, v_point);
      }
      transformed = block;
    }
    const int64_t parts = (count + kMr - 1) / kMr;
    const int64_t last = (group + 1) * per_group < panels ? (group + 1) * per_group : panels;
    for (int64_t panel = group * per_group; panel < last; ++panel) {
      const int64_t cols = a.k - panel * kNr > kNr / 2 ? kNr : kNr / 2;
      for (int64_t p = 0; p < points; ++p) {
        Tile tile{};
        tile.taps = 1, tile.run = a.c, tile.b = u + (panel * points + p) * a.c * kNr;
        tile.ldc = kNr, tile.cols = cols, tile.last = true;
        tile.ahead = reinterpret_cast<const char*>(tile.b + a.c * kNr);
        tile.ahead_step = kNr * int64_t(sizeof(float)) / parts;
        const int64_t low = count / parts, high = count - low * parts;
        for (int64_t part = 0, t0 = 0; part < parts;) {
          const int64_t height = low + (part < high);
          int64_t some = (part < high ? high : parts) - part;
          if (some > kWinogradRun) some = kWinogradRun;
          const float* rows[kWinogradRun * kMr];
          for (int64_t i = 0; i < some; ++i)
            for (int64_t r = 0; r < height; ++r) rows[i * kMr + r] = v + p * v_point + (t0 + i * height + r) * row;
          tile.rows = rows, tile.c = m + p * m_point + t0 * kNr;
          tile_select(int(height), cols)(tile, some, identity);
          tile.ahead += some * a.c * tile.ahead_step;
          part += some, t0 += some * height;
        }
      }
      for (int64_t t = 0; t < count; ++t) {
        const int64_t tile = first + t, image = tile / (tiles_x * tiles_y);
        winograd_output<U>(a, act, m + t * kNr, m_point, panel * kNr, tile / tiles_x % tiles_y * U,
                           tile % tiles_x * U, dst + image * a.oh * a.ow * a.ld_dst, bias,
                           residual ? residual + image * a.oh * a.ow * a.ld_residual : nullptr);
      }
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
