// Matrix product with packed B, float32: dst[b] = act(A[b] * B[b] + bias + residual[b]).
//
// gemm/tile:    buf dst (int64[2]: kMr, kNr of this ISA). No arguments, one unit.
//
// pack_b/gemm:  buf dst, b. arg K, N, stride_k, stride_n, f(scale), rank, then per batch dimension: size, stride_b.
//               dst[batch][panel][k][kNr] = scale * b, zero where n >= N; batches dense and row-major.
//               Units: batches * panels, panels = ceil(N / kNr).
//
// gemm/gemm:    buf dst, a, b_packed, bias (float32[N] or null), residual (or null), scratch (or null).
//               arg  0 M, 1 N, 2 block_tiles, 3 group_panels, 4 columns_first (see Cut), 5 K, 6 kc (elements of K per
//                    piece), 7 lda, 8 ldc, 9 ldr, 10 scratch floats per thread (0: rows are read in place),
//                    11..13 activation, 14 rank, then per batch dimension: size, and strides of a, b_packed, dst,
//                    residual in elements (0 = broadcast).
//               dst may not overlap an input; residual may be dst itself only when kc >= K.
//               Scratch, where asked for: threads * scratch floats, block_tiles * kMr * (round16(kc) + 16) each.
//               Units: batches * ceil(ceil(M/kMr) / block_tiles) * ceil(ceil(N/kNr) / group_panels).
//
// gemm/plain:   float32, float64, int32, uint32, int64, uint64 (integers wrap); any sizes, zero included.
//               buf dst, a, b. arg M, N, K, strides of a (m, k) and b (k, n), rank, then per batch dimension: size,
//               stride_a, stride_b. dst is dense. Units: batches * M.
#ifndef WALLE_KERNELS_GEMM_HPP
#define WALLE_KERNELS_GEMM_HPP
#include "walle/kernels/gemm_block.hpp"

namespace walle { namespace WALLE_ISA { namespace {

inline void gemm_tile_shape(const walle_call* call) {
  int64_t* dst = static_cast<int64_t*>(call->buf[0]);
  dst[0] = kMr, dst[1] = kNr;
}

inline void gemm_pack_b(const walle_call* call) {
  const int64_t* arg = call->arg;
  const int64_t K = arg[0], N = arg[1], sk = arg[2], sn = arg[3], rank = arg[5];
  const F32 scale = F32::set(float(walle_f64(arg[4])));
  const int64_t panels = (N + kNr - 1) / kNr;
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const float* b = static_cast<const float*>(call->buf[1]);
    float* out = static_cast<float*>(call->buf[0]) + unit * K * kNr;
    int64_t batch = unit / panels;
    const int64_t n0 = unit % panels * kNr;
    for (int64_t d = rank - 1; d >= 0; --d) {
      b += batch % arg[6 + 2 * d] * arg[7 + 2 * d];
      batch /= arg[6 + 2 * d];
    }
    b += n0 * sn;
    const int64_t cols = N - n0 < kNr ? N - n0 : kNr;
    if (sn == 1) {
      for (int64_t k = 0; k < K; ++k) {
        for (int v = 0; v < kNv; ++v) {
          const int64_t left = cols - v * F32::N;
          const float* from = b + k * sk + v * F32::N;
          const F32 x = left >= F32::N ? F32::load(from) : left > 0 ? F32::load(from, size_t(left)) : F32::set(0.0f);
          mul(x, scale).store(out + k * kNr + v * F32::N);
        }
      }
    } else {
      // Pieces of 16 k: every line of a column is used up while it is in the first-level cache.
      for (int64_t k0 = 0; k0 < K; k0 += 16) {
        const int64_t k1 = k0 + 16 < K ? k0 + 16 : K;
        for (int64_t n = 0; n < kNr; ++n) {
          const float* from = b + n * sn;
          if (n < cols) {
            for (int64_t k = k0; k < k1; ++k) out[k * kNr + n] = from[k * sk];
          } else {
            for (int64_t k = k0; k < k1; ++k) out[k * kNr + n] = 0.0f;
          }
        }
        for (int64_t i = k0 * kNr; i < k1 * kNr; i += F32::N) mul(F32::load(out + i), scale).store(out + i);
      }
    }
  }
}

inline void gemm_run(const walle_call* call) {
  const int64_t* arg = call->arg;
  const Cut cut = Cut::make(arg);
  const int64_t lda = arg[7], rank = arg[14], per_batch = cut.units();
  Product p{};
  p.taps = 1, p.run = arg[5], p.kc = arg[6], p.ldc = arg[8], p.ldr = arg[9];
  p.bias = static_cast<const float*>(call->buf[3]);
  p.stage = arg[10] ? static_cast<float*>(call->buf[5]) + call->thread * arg[10] : nullptr;
  p.act = Activation::make(arg + 11);
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const float* a = static_cast<const float*>(call->buf[1]);
    p.b = static_cast<const float*>(call->buf[2]);
    p.c = static_cast<float*>(call->buf[0]);
    p.residual = static_cast<const float*>(call->buf[4]);
    int64_t batch = unit / per_batch;
    for (int64_t d = rank - 1; d >= 0 && batch; --d) {
      const int64_t* dim = arg + 15 + 5 * d;
      const int64_t i = batch % dim[0];
      a += i * dim[1], p.b += i * dim[2], p.c += i * dim[3];
      if (p.residual) p.residual += i * dim[4];
      batch /= dim[0];
    }
    p.a = a, p.lda = lda;
    block_unit(cut, p, unit % per_batch,
               [&](const float** rows, int64_t, int64_t m, int height, int64_t, int64_t, int64_t k) {
                 for (int r = 0; r < height; ++r) rows[r] = a + (m + r) * lda + k;
               });
  }
}

template <class T>
inline void gemm_plain(const walle_call* call) {
  const int64_t* arg = call->arg;
  const int64_t M = arg[0], N = arg[1], K = arg[2], rank = arg[7];
  for (int64_t unit = call->begin; unit < call->end; ++unit) {
    const T* a = static_cast<const T*>(call->buf[1]) + unit % M * arg[3];
    const T* b = static_cast<const T*>(call->buf[2]);
    T* dst = static_cast<T*>(call->buf[0]) + unit * N;
    int64_t batch = unit / M;
    for (int64_t d = rank - 1; d >= 0; --d) {
      const int64_t* dim = arg + 8 + 3 * d;
      a += batch % dim[0] * dim[1], b += batch % dim[0] * dim[2];
      batch /= dim[0];
    }
    for (int64_t n = 0; n < N; ++n) dst[n] = 0;
    for (int64_t k = 0; k < K; ++k) {
      const T x = a[k * arg[4]];
      const T* row = b + k * arg[5];
      if (arg[6] == 1) {
        for (int64_t n = 0; n < N; ++n) dst[n] += x * row[n];
      } else {
        for (int64_t n = 0; n < N; ++n) dst[n] += x * row[n * arg[6]];
      }
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_GEMM_ROWS                                                                             \
  {"gemm", "tile", "int64", ::walle::WALLE_ISA::gemm_tile_shape},                                    \
  {"pack_b", "gemm", "float32", ::walle::WALLE_ISA::gemm_pack_b},                                    \
  {"gemm", "gemm", "float32", ::walle::WALLE_ISA::gemm_run},                                         \
  {"gemm", "plain", "float32", ::walle::WALLE_ISA::gemm_plain<float>},                               \
  {"gemm", "plain", "float64", ::walle::WALLE_ISA::gemm_plain<double>},                              \
  {"gemm", "plain", "int32", ::walle::WALLE_ISA::gemm_plain<uint32_t>},                              \
  {"gemm", "plain", "uint32", ::walle::WALLE_ISA::gemm_plain<uint32_t>},                             \
  {"gemm", "plain", "int64", ::walle::WALLE_ISA::gemm_plain<uint64_t>},                              \
  {"gemm", "plain", "uint64", ::walle::WALLE_ISA::gemm_plain<uint64_t>},
#endif
