// Elementary functions of one vector of floats.
//
// With more than one lane they are polynomials after range reduction, at most 4 ulp off over the normal range, with
// IEEE results for infinities, NaN, zeros and gradual underflow. Coefficients are our own minimax fits (weighted least
// squares, Lawson's iteration) to the functions named. With one lane the C library is as quick and is called instead.
#ifndef WALLE_KERNELS_MATH_HPP
#define WALLE_KERNELS_MATH_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace walle { namespace WALLE_ISA { namespace {

constexpr bool kOneLane = F32::N == 1;
constexpr float kInf = __builtin_inff();
constexpr float kNaN = __builtin_nanf("");

inline F32 val(float x) { return F32::set(x); }

// A function of the C library, lane by lane.
template <float (*f)(float)> inline F32 per_lane(F32 x) {
  float lane[F32::N];
  x.store(lane);
  for (int i = 0; i < F32::N; ++i) lane[i] = f(lane[i]);
  return F32::load(lane);
}
template <float (*f)(float, float)> inline F32 per_lane(F32 x, F32 y) {
  float a[F32::N], b[F32::N];
  x.store(a);
  y.store(b);
  for (int i = 0; i < F32::N; ++i) a[i] = f(a[i], b[i]);
  return F32::load(a);
}

// c0 + c1*z + c2*z^2 + ... by Horner's rule.
inline F32 horner(F32, float c) { return val(c); }
template <class... C> inline F32 horner(F32 z, float c, C... rest) { return fma(horner(z, rest...), z, val(c)); }

inline I32 sign_bits(F32 x) { return bit_and(as_int(x), I32::set(INT32_MIN)); }
inline F32 flip_sign(F32 x, I32 signs) { return as_float(bit_xor(as_int(x), signs)); }
inline F32 copysign(F32 magnitude, F32 s) { return as_float(bit_or(as_int(abs(magnitude)), sign_bits(s))); }

// exp(x) * 2^bias. Reduction by ln 2 in two parts; min and max keep NaN because x is their second operand.
inline F32 exp_scaled(F32 x, float bias) {
  x = min(val(91.0f), max(val(-110.0f), x));
  const F32 n = round_even(mul(x, val(1.44269504f)));
  const F32 r = fnma(n, val(-1.90465421e-9f), fnma(n, val(0.693147182f), x));
  const F32 q = horner(r, 4.999999404e-01f, 1.666652113e-01f, 4.166838899e-02f, 8.368710056e-03f, 1.381461043e-03f);
  return ldexp(add(val(1.0f), fma(mul(r, r), q, r)), add(n, val(bias)));
}
inline F32 exp(F32 x) { return kOneLane ? per_lane<::expf>(x) : exp_scaled(x, 0.0f); }

inline F32 expm1(F32 x) {
  if (kOneLane) return per_lane<::expm1f>(x);
  const F32 c = min(val(91.0f), max(val(-18.0f), x));
  const F32 n = round_even(mul(c, val(1.44269504f)));
  const F32 r = fnma(n, val(-1.90465421e-9f), fnma(n, val(0.693147182f), c)), z = mul(r, r);
  const F32 q = horner(r, 1.666654944e-01f, 4.166685417e-02f, 8.366034366e-03f, 1.389822573e-03f);
  const F32 p = add(r, fma(mul(z, r), q, mul(val(0.5f), z)));
  const F32 y = ldexp(add(p, sub(val(1.0f), ldexp(val(1.0f), neg(n)))), n);  // 2^n (p + 1 - 2^-n)
  return select(eq(n, val(0.0f)), select(eq(x, val(0.0f)), x, p), y);
}

// Splits x > 0 into m * 2^e with m in [sqrt(1/2), sqrt(2)); subnormals are scaled up first.
inline F32 split_exponent(F32 x, F32& e) {
  const M32 tiny = lt(x, val(1.17549435e-38f));
  const I32 bits = as_int(select(tiny, mul(x, val(8388608.0f)), x));
  const I32 k = shift_right<23>(sub(bits, I32::set(0x3f3504f3)));
  e = sub(to_float(k), select(tiny, val(23.0f), val(0.0f)));
  return as_float(sub(bits, shift_left<23>(k)));
}
// log(1 + f) - f for f in [sqrt(1/2) - 1, sqrt(2) - 1), plus e * (low part of ln 2)
inline F32 log_tail(F32 f, F32 e) {
  const F32 z = mul(f, f);
  const F32 q = horner(f, 3.333331347e-01f, -2.500000894e-01f, 2.000211924e-01f, -1.666799635e-01f, 1.421955079e-01f,
                       -1.240559146e-01f, 1.188817471e-01f, -1.167564094e-01f, 6.746601313e-02f);
  return fnma(val(0.5f), z, fma(e, val(-2.12194440e-4f), mul(mul(f, z), q)));
}
inline F32 log_special(F32 x, F32 y) {  // y where 0 < x < inf
  const F32 zero = val(0.0f);
  const F32 other = select(eq(x, zero), val(-kInf), select(lt(x, zero), val(kNaN), x));
  return select(logical_and(lt(zero, x), lt(x, val(kInf))), y, other);
}
inline F32 log(F32 x) {
  if (kOneLane) return per_lane<::logf>(x);
  F32 e;
  const F32 f = sub(split_exponent(x, e), val(1.0f));
  return log_special(x, fma(e, val(0.693359375f), add(f, log_tail(f, e))));
}
inline F32 log1p(F32 x) {  // log(u) + (what rounding u = 1 + x lost) / u
  if (kOneLane) return per_lane<::log1pf>(x);
  const F32 u = add(val(1.0f), x), lost = sub(x, sub(u, val(1.0f)));
  F32 e;
  const F32 f = sub(split_exponent(u, e), val(1.0f));
  const F32 y = fma(e, val(0.693359375f), add(f, add(log_tail(f, e), div(lost, u))));
  return select(eq(x, val(0.0f)), x, log_special(u, y));
}

inline F32 sigmoid(F32 x) {
  const F32 e = exp(neg(abs(x)));
  return div(select(lt(x, val(0.0f)), e, val(1.0f)), add(val(1.0f), e));
}
inline F32 tanh(F32 x) {
  if (kOneLane) return per_lane<::tanhf>(x);
  const F32 a = abs(x), z = mul(x, x);
  const F32 p = horner(z, -3.333328366e-01f, 1.333149076e-01f, -5.374349654e-02f, 2.065057866e-02f, -5.717036780e-03f);
  const F32 near = fma(mul(a, z), p, a);
  const F32 far = sub(val(1.0f), div(val(2.0f), add(exp(add(a, a)), val(1.0f))));
  return copysign(select(lt(a, val(0.625f)), near, far), x);
}
inline F32 erf(F32 x) {  // near 0 a polynomial, else 1 - exp(a polynomial)
  if (kOneLane) return per_lane<::erff>(x);
  const F32 a = min(val(4.0f), abs(x)), z = mul(x, x);
  const F32 p = horner(z, 1.283791661e-01f, -3.761262596e-01f, 1.128358543e-01f, -2.685381100e-02f, 5.188327748e-03f,
                       -8.010192541e-04f, 7.853857824e-05f);
  const F32 q = horner(a, -1.884677913e-04f, 1.129580259e+00f, 6.332163811e-01f, 1.084221005e-01f, -2.521034144e-02f,
                       4.205286037e-03f, -4.414729192e-04f, 2.169763866e-05f);
  const F32 y = select(lt(a, val(1.0f)), fma(a, p, a), sub(val(1.0f), exp(neg(q))));
  return copysign(y, x);
}

// x/2 (1 + erf(x/sqrt(2))): near 0 the absolute error of 1 - exp(...) is enough, and the exponent needs no care at its ends.
inline F32 gelu(F32 x) {
  const F32 h = mul(val(0.5f), x), a = min(val(4.0f), mul(abs(x), val(0.707106781f)));
  if (kOneLane) return fma(h, erf(mul(x, val(0.707106781f))), h);
  const F32 q = horner(a, 0.0f, -1.128401518e+00f, -6.363700032e-01f, -1.038065180e-01f, 2.126792818e-02f,
                       -2.257676097e-03f, -7.096838090e-05f, 3.355418812e-05f);
  const F32 n = round_even(mul(q, val(1.44269504f)));
  const F32 r = fnma(n, val(0.693147182f), q);
  const F32 p = horner(r, 1.0f, 1.0f, 4.999999404e-01f, 1.666652113e-01f, 4.166838899e-02f, 8.368710056e-03f, 1.381461043e-03f);
  const I32 power = shift_left<23>(add(to_int(n), I32::set(127)));
  return fma(h, copysign(fnma(p, as_float(power), val(1.0f)), x), h);
}

// |x| = quadrant * pi/2 + r, |r| <= pi/4 (Cody and Waite, three parts of pi/2 with fma: good to |x| = 1e5).
constexpr float kTrigLimit = 1e5f;
inline I32 trig_reduce(F32 a, F32& r) {
  const F32 n = round_even(mul(a, val(0.636619747f)));
  r = fnma(n, val(-1.71512489e-15f), fnma(n, val(-4.37113883e-8f), fnma(n, val(1.57079637f), a)));
  return to_int(n);
}
inline F32 sin_poly(F32 r, F32 z) {
  return fma(mul(r, z), horner(z, -1.666665524e-01f, 8.332177997e-03f, -1.951729791e-04f), r);
}
inline F32 cos_poly(F32 z) {
  const F32 q = horner(z, 4.166664556e-02f, -1.388736768e-03f, 2.443845005e-05f);
  return fma(mul(z, z), q, fnma(val(0.5f), z, val(1.0f)));
}
inline M32 is_odd(I32 q) { return lt(val(0.0f), to_float(bit_and(q, I32::set(1)))); }
inline I32 second_bit_as_sign(I32 q) { return shift_left<30>(bit_and(q, I32::set(2))); }

// y, or the C library's result in the lanes where the reduction is not good (lane by lane: neighbours do not matter).
template <float (*f)(float)> inline F32 beyond_limit(F32 x, F32 a, F32 y) {
  const M32 large = lt(val(kTrigLimit), a);
  return any(large) ? select(large, per_lane<f>(x), y) : y;
}

inline F32 sin(F32 x) {
  const F32 a = abs(x);
  if (kOneLane) return per_lane<::sinf>(x);
  F32 r;
  const I32 q = trig_reduce(a, r);
  const F32 z = mul(r, r), y = select(is_odd(q), cos_poly(z), sin_poly(r, z));
  return beyond_limit<::sinf>(x, a, flip_sign(y, bit_xor(second_bit_as_sign(q), sign_bits(x))));
}
inline F32 cos(F32 x) {
  const F32 a = abs(x);
  if (kOneLane) return per_lane<::cosf>(x);
  F32 r;
  const I32 q = trig_reduce(a, r);
  const F32 z = mul(r, r), y = select(is_odd(q), sin_poly(r, z), cos_poly(z));
  return beyond_limit<::cosf>(x, a, flip_sign(y, second_bit_as_sign(add(q, I32::set(1)))));
}
inline F32 tan(F32 x) {
  const F32 a = abs(x);
  if (kOneLane) return per_lane<::tanf>(x);
  F32 r;
  const I32 q = trig_reduce(a, r);
  const F32 z = mul(r, r), s = sin_poly(r, z), c = cos_poly(z);
  const M32 odd = is_odd(q);
  return beyond_limit<::tanf>(x, a, flip_sign(div(select(odd, neg(c), s), select(odd, s, c)), sign_bits(x)));
}

inline F32 atan(F32 x) {
  if (kOneLane) return per_lane<::atanf>(x);
  const F32 a = abs(x);
  const M32 far = lt(val(1.0f), a);
  const F32 t = select(far, div(val(1.0f), a), a), z = mul(t, t);
  const F32 q = horner(z, -3.333332837e-01f, 1.999969333e-01f, -1.428013146e-01f, 1.106024459e-01f, -8.818848431e-02f,
                       6.759572029e-02f, -4.494644701e-02f, 2.276034094e-02f, -7.422637660e-03f, 1.134878374e-03f);
  const F32 y = fma(mul(t, z), q, t);
  const F32 rest = sub(val(1.57079637f), add(y, val(4.37113883e-8f)));
  return copysign(select(far, rest, y), x);
}
inline F32 asin_poly(F32 t) {  // asin on [0, 1/2]
  const F32 z = mul(t, t);
  const F32 q = horner(z, 1.666665971e-01f, 7.500510663e-02f, 4.451572150e-02f, 3.181760758e-02f, 1.440261491e-02f,
                       3.756518662e-02f);
  return fma(mul(t, z), q, t);
}
inline F32 asin(F32 x) {  // beyond 1/2: pi/2 - 2 asin(sqrt((1 - |x|) / 2)); beyond 1 the square root gives NaN
  if (kOneLane) return per_lane<::asinf>(x);
  const F32 a = abs(x);
  const M32 near = le(a, val(0.5f));
  const F32 y = asin_poly(select(near, a, sqrt(mul(val(0.5f), sub(val(1.0f), a)))));
  const F32 far = sub(val(1.57079637f), add(add(y, y), val(4.37113883e-8f)));
  return copysign(select(near, y, far), x);
}
inline F32 acos(F32 x) {
  if (kOneLane) return per_lane<::acosf>(x);
  const F32 a = abs(x);
  const M32 near = le(a, val(0.5f)), negative = lt(x, val(0.0f));
  const F32 y = asin_poly(select(near, a, sqrt(mul(val(0.5f), sub(val(1.0f), a)))));
  const F32 middle = sub(val(1.57079637f), add(copysign(y, x), val(4.37113883e-8f)));
  const F32 twice = add(y, y), left = sub(val(3.14159274f), add(twice, val(8.74227766e-8f)));
  return select(near, middle, select(negative, left, twice));
}

inline F32 sinh(F32 x) {
  if (kOneLane) return per_lane<::sinhf>(x);
  const F32 a = abs(x), z = mul(x, x);
  const F32 q = horner(z, 1.666666716e-01f, 8.333350532e-03f, 1.983606635e-04f, 2.817439736e-06f);
  const F32 h = exp_scaled(a, -1.0f);
  const F32 far = sub(h, div(val(0.25f), h));
  return copysign(select(lt(a, val(1.0f)), fma(mul(a, z), q, a), far), x);
}
inline F32 cosh(F32 x) {
  if (kOneLane) return per_lane<::coshf>(x);
  const F32 h = exp_scaled(abs(x), -1.0f);
  return add(h, div(val(0.25f), h));
}
inline F32 asinh(F32 x) {  // log1p(a + a^2 / (1 + sqrt(1 + a^2))); a^2 would overflow beyond 1e18
  if (kOneLane) return per_lane<::asinhf>(x);
  const F32 a = abs(x), z = mul(a, a);
  const F32 near = log1p(add(a, div(z, add(val(1.0f), sqrt(add(val(1.0f), z))))));
  const F32 far = add(log(a), val(0.693147182f));
  return copysign(select(lt(a, val(1e9f)), near, far), x);
}
inline F32 acosh(F32 x) {  // log1p(t + sqrt(t (t + 2))) with t = x - 1
  if (kOneLane) return per_lane<::acoshf>(x);
  const F32 t = sub(x, val(1.0f));
  const F32 near = log1p(add(t, sqrt(mul(t, add(t, val(2.0f))))));
  const F32 y = select(lt(x, val(1e9f)), near, add(log(x), val(0.693147182f)));
  return select(lt(x, val(1.0f)), val(kNaN), y);
}
inline F32 atanh(F32 x) {  // log1p(2a / (1 - a)) / 2
  if (kOneLane) return per_lane<::atanhf>(x);
  const F32 a = abs(x);
  const F32 y = mul(val(0.5f), log1p(div(add(a, a), sub(val(1.0f), a))));
  const F32 edge = select(eq(a, val(1.0f)), val(kInf), y);
  return copysign(select(lt(val(1.0f), a), val(kNaN), edge), x);
}

// pow(a, y) for a > 0: log2(a) as an unevaluated sum of two floats, so that y*log2(a) keeps 30 bits.
inline F32 pow_positive(F32 a, F32 y) {
  F32 e;
  const F32 m = split_exponent(a, e), one = val(1.0f);
  const F32 num = sub(m, one), den = add(m, one), den_lost = sub(m, sub(den, one));
  const F32 s = div(num, den);  // log2(m) = 2/ln2 * atanh(s), |s| <= 0.172
  const F32 s_low = div(fnma(s, den_lost, fnma(s, den, num)), den);
  const F32 z = mul(s, s);
  const F32 tail = mul(mul(s, z), horner(z, 3.333333135e-01f, 2.000017017e-01f, 1.426845938e-01f, 1.179499626e-01f));
  const F32 c = val(2.88539004f), hi = mul(c, s);
  F32 lo = fma(c, add(s_low, tail), fma(s, val(3.85195993e-8f), fma(c, s, neg(hi))));
  const F32 sum = add(e, hi);
  lo = add(lo, sub(hi, sub(sum, e)));  // |e| >= |hi| or e == 0: the subtraction is exact
  const F32 top = mul(y, sum), rest = fma(y, lo, fma(y, sum, neg(top)));
  const F32 limit = val(252.0f), clamped = min(limit, max(val(-252.0f), top));
  const F32 n = round_even(clamped);
  const F32 r = select(lt(abs(top), limit), add(sub(clamped, n), rest), val(0.0f));
  const F32 q = horner(r, 6.931471825e-01f, 2.402264774e-01f, 5.550332367e-02f, 9.618436918e-03f, 1.339887502e-03f,
                       1.535336050e-04f);
  return ldexp(fma(r, q, one), n);
}
inline F32 pow(F32 x, F32 y) {
  if (kOneLane) return per_lane<::powf>(x, y);
  const F32 zero = val(0.0f), one = val(1.0f), inf = val(kInf), a = abs(x);
  const M32 down = lt(y, zero);
  F32 p = pow_positive(a, y);
  p = select(eq(a, zero), select(down, inf, zero), p);
  p = select(eq(a, inf), select(down, zero, inf), p);
  const M32 grows = lt(one, a), shrinks = lt(a, one);
  const M32 diverges = logical_or(logical_and(grows, lt(zero, y)), logical_and(shrinks, down));
  const F32 at_inf = select(eq(a, one), one, select(diverges, inf, zero));
  p = select(eq(abs(y), inf), at_inf, p);
  const F32 half = mul(y, val(0.5f));  // y is odd if it is whole and half of it is not; 2^24 and above are even
  const M32 whole = eq(trunc(y), y), odd = logical_and(whole, logical_not(eq(trunc(half), half)));
  const M32 minus = lt(zero, flip_sign(one, bit_xor(sign_bits(x), I32::set(INT32_MIN))));
  p = select(logical_and(minus, odd), neg(p), p);
  const M32 domain = logical_and(logical_and(lt(x, zero), lt(neg(inf), x)), logical_not(whole));
  p = select(domain, val(kNaN), p);
  p = select(logical_or(isnan(x), isnan(y)), val(kNaN), p);
  return select(logical_or(eq(y, zero), eq(x, one)), one, p);
}

}}}  // namespace walle::WALLE_ISA::(anonymous)
#endif
