// Random numbers: xoshiro256++ (Blackman and Vigna 2021), seeded by SplitMix64; the state is four words of the caller's.
#ifndef WALLE_MATRIX_RANDOM_HPP
#define WALLE_MATRIX_RANDOM_HPP
#include <cmath>
#include <cstdint>

namespace walle { namespace matrix { namespace {

inline uint64_t rotated(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

inline uint64_t random_word(uint64_t* s) {
  const uint64_t result = rotated(s[0] + s[3], 23) + s[0], t = s[1] << 17;
  s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
  s[2] ^= t, s[3] = rotated(s[3], 45);
  return result;
}

inline void random_seed(uint64_t* s, uint64_t seed) {
  for (int i = 0; i < 4; ++i) {
    uint64_t z = seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    s[i] = z ^ (z >> 31);
  }
}

inline double random_unit(uint64_t* s) { return double(random_word(s) >> 11) * 0x1p-53; }

inline void random_uniform(uint64_t* s, double* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = random_unit(s);
}

// Standard normal, by Marsaglia's polar method.
inline void random_normal(uint64_t* s, double* out, int64_t n) {
  for (int64_t i = 0; i < n;) {
    const double x = 2 * random_unit(s) - 1, y = 2 * random_unit(s) - 1, r = x * x + y * y;
    if (r >= 1 || r == 0) continue;
    const double f = std::sqrt(-2 * std::log(r) / r);
    out[i++] = x * f;
    if (i < n) out[i++] = y * f;
  }
}

// low + 0 .. span - 1, without bias (rejection below 2^64 mod span); span 0: all words.
inline void random_integers(uint64_t* s, int64_t* out, int64_t n, int64_t low, uint64_t span) {
  const uint64_t least = span ? (0 - span) % span : 0;
  for (int64_t i = 0; i < n; ++i) {
    uint64_t word = random_word(s);
    while (word < least) word = random_word(s);
    out[i] = int64_t(uint64_t(low) + (span ? word % span : word));
  }
}

// A random order of out[n] (Fisher and Yates).
inline void random_order(uint64_t* s, int64_t* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = i;
  for (int64_t i = n - 1; i > 0; --i) {
    int64_t j;
    random_integers(s, &j, 1, 0, uint64_t(i) + 1);
    const int64_t here = out[i];
    out[i] = out[j], out[j] = here;
  }
}

}}}  // namespace walle::matrix::(anonymous)
#endif
