// A block of a product: some row tiles times some B panels, over all of K; what one work unit of gemm and conv does.
//
// K is cut into pieces of about `kc` so that the rows and one panel stay in the second-level cache; between pieces the
// sums rest in c. For each piece the block's row pointers are made once; then panels are the outer loop and tiles the
// inner one: a panel is read from far away once per block, and again from the first- or second-level cache.
#ifndef WALLE_KERNELS_GEMM_BLOCK_HPP
#define WALLE_KERNELS_GEMM_BLOCK_HPP
#include "walle/kernels/gemm_tile.hpp"

namespace walle { namespace WALLE_ISA { namespace {

constexpr int kTileTaps = 128;  // most (tiles * taps) of one piece: its pointers live on the stack

// How the rows and columns of a product are cut into units; solved by the emitter.
struct Cut {
  int64_t rows, cols;
  int64_t tiles;        // ceil(rows / height of a tile); heights differ by at most one
  int64_t panels;       // ceil(cols / kNr)
  int64_t block_tiles;  // tiles per unit
  int64_t group_panels; // panels per unit
  int64_t columns_first;  // 1: consecutive units share a panel group (weights stream once); 0: they share rows

  // arg: rows, cols, block_tiles, group_panels, columns_first
  static Cut make(const int64_t* arg, int64_t height = kMr) {
    Cut c;
    c.rows = arg[0], c.cols = arg[1], c.block_tiles = arg[2], c.group_panels = arg[3], c.columns_first = arg[4];
    c.tiles = (c.rows + height - 1) / height;
    c.panels = (c.cols + kNr - 1) / kNr;
    return c;
  }
  int64_t blocks() const { return (tiles + block_tiles - 1) / block_tiles; }
  int64_t groups() const { return (panels + group_panels - 1) / group_panels; }
  int64_t units() const { return blocks() * groups(); }
  // The first tiles are one row higher than the last ones.
  int64_t height(int64_t tile) const { return low() + (tile < rows - low() * tiles); }
  int64_t row(int64_t tile) const {
    const int64_t high = rows - low() * tiles;
    return low() * tile + (tile < high ? tile : high);
  }
  int64_t low() const { return rows / tiles; }
  // The end of the tiles that are as high as `tile`, at most `end`.
  int64_t alike(int64_t tile, int64_t end) const {
    const int64_t high = rows - low() * tiles;
    return tile < high && high < end ? high : end;
  }
};

// The operands of one product, apart from its rows.
struct Product {
  const float* a;         // null, or where row 0 begins, for fetching the next block's rows ahead
  int64_t lda;
  const float* b;         // packed, all panels
  float* c;
  int64_t ldc;
  const float* bias;
  const float* residual;
  int64_t ldr;
  int64_t taps, run;      // K = taps * run
  int64_t kc;             // elements of K per piece
  float* stage;           // null, or per-thread scratch: rows are copied there first
  Activation act;
};

inline int64_t stage_stride(int64_t length) { return ((length + 15) & ~int64_t(15)) + 16; }

// Copies rows given by pointers [taps][kMr] to `out`, where they are contiguous, and points staged[0..height) there.
// Rows whose distance is a multiple of 2 KiB share few sets of the first-level cache; copied, they do not.
inline void stage_rows(const float** rows, int height, int64_t taps, int64_t run, float* out, int64_t stride,
                       const float** staged) {
  for (int r = 0; r < height; ++r) {
    float* to = out + r * stride;
    for (int64_t t = 0; t < taps; ++t) {
      const float* from = rows[t * kMr + r];
      int64_t i = 0;
      for (; i + F32::N <= run; i += F32::N) F32::load(from + i).store(to + i);
      if (i < run) F32::load(from + i, size_t(run - i)).store(to + i);  // into the next run, or the distance of rows
      to += run;
    }
  }
  for (int r = 0; r < height; ++r) staged[r] = out + r * stride;
}

// Does unit `unit` of a product. `point(rows, tile, m, height, tap, taps, k)` writes pointers [taps][kMr] to element k
// of taps tap.. of rows m..m+height of tile `tile` of the unit.
template <class Rows>
inline void block_unit(const Cut& cut, const Product& p, int64_t unit, const Rows& point) {
  const int64_t block = cut.columns_first ? unit % cut.blocks() : unit / cut.groups();
  const int64_t group = cut.columns_first ? unit / cut.blocks() : unit % cut.groups();
  const int64_t tile0 = block * cut.block_tiles;
  const int64_t count = (tile0 + cut.block_tiles < cut.tiles ? tile0 + cut.block_tiles : cut.tiles) - tile0;
  const int64_t panel0 = group * cut.group_panels;
  const int64_t panel1 = panel0 + cut.group_panels < cut.panels ? panel0 + cut.group_panels : cut.panels;
  const int64_t depth = p.taps * p.run;
  const bool again = cut.columns_first || cut.groups() == 1;  // the next unit starts at the same panel
  const float* follower = p.b + (again ? panel0 : panel1) * depth * kNr;
  const float* pointers[kTileTaps * kMr];
  for (int64_t tap = 0, k = 0; tap < p.taps;) {
    int64_t taps = 1, run = p.run - k;
    if (p.kc < p.run) {
      if (run > p.kc) run = p.kc;
    } else {
      taps = p.kc / p.run;
      if (taps > p.taps - tap) taps = p.taps - tap;
    }
    const int64_t table = taps * kMr, length = taps * run, tile_table = p.stage ? kMr : table;
    const bool first = tap == 0 && k == 0;
    const bool last = tap + taps == p.taps && k + run == p.run;
    const float* b = p.b + (tap * p.run + k) * kNr;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t m = cut.row(tile0 + i);
      const int height = int(cut.height(tile0 + i));
      point(pointers + i * table, i, m, height, tap, taps, k);
      if (p.stage) {
        const int64_t stride = stage_stride(length);
        stage_rows(pointers + i * table, height, taps, run, p.stage + i * kMr * stride, stride, pointers + i * kMr);
      }
    }
    // Tiles of the greater height, then those of the smaller: at most two kernels per panel.
    const int64_t low = cut.low(), high = cut.rows - low * cut.tiles, m0 = cut.row(tile0);
    const int64_t tall = tile0 >= high ? 0 : high - tile0 < count ? high - tile0 : count;
    Tile t{};
    t.taps = p.stage ? 1 : taps, t.run = p.stage ? length : run;
    t.ldc = p.ldc, t.ldr = p.ldr;
    t.accumulate = !first, t.last = last;
    const int64_t step = kNr * int64_t(sizeof(float)) / count;
    const int64_t next_m = cut.row(tile0 + count < cut.tiles ? tile0 + count : cut.columns_first ? 0 : tile0 + count);
    const int64_t row_step = p.a ? p.lda * (low + 1) * int64_t(sizeof(float)) / length : 0;
    for (int64_t panel = panel0; panel < panel1; ++panel) {
      const int64_t n = panel * kNr;
      t.cols = cut.cols - n < kNr ? cut.cols - n : kNr;
      t.b = b + panel * depth * kNr;
      t.bias = p.bias ? p.bias + n : nullptr;
      const float* ahead = t.b + depth * kNr;
      t.ahead_step = step;
      if (panel + 1 == panel1) {
        ahead = last ? follower : b + panel0 * depth * kNr + length * kNr;
        if (last && p.a && row_step <= 4 * step + 64) ahead = p.a + next_m * p.lda, t.ahead_step = row_step;
      }
      t.ahead = reinterpret_cast<const char*>(ahead);
      t.rows = pointers;
      t.c = p.c + m0 * p.ldc + n;
      t.residual = p.residual ? p.residual + m0 * p.ldr + n : nullptr;
      if (tall) tile_select(int(low + 1), t.cols)(t, tall, p.act);
      if (tall < count) {
        t.rows += tall * tile_table;
        t.c += tall * (low + 1) * p.ldc;
        if (t.residual) t.residual += tall * (low + 1) * p.ldr;
        t.ahead += tall * length * t.ahead_step;
        tile_select(int(low), t.cols)(t, count - tall, p.act);
      }
    }
    k += run;
    if (k == p.run) k = 0, tap += taps;
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
