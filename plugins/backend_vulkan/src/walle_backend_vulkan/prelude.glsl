// The kernel dialect (docs/device-kernels.md) in GLSL. W is defined before this.
#define f32 float
#define i32 int
#define u32 uint
#define i64 int64_t
#define i8 int8_t
#define u8 uint8_t
#define u16 uint16_t
#define u32x2 uvec2
#define u32x4 uvec4

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if W == 1
#define VEC float
#define VECI int
#define MASK bool
#define SELECT(m, a, b) ((m) ? (a) : (b))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define EQ(a, b) ((a) == (b))
#define MAND(a, b) ((a) && (b))
#define MOR(a, b) ((a) || (b))
#define MNOT(m) (!(m))
#define LOADU(p, i) (p[i])
#define LOADA(p, i) (p[i])
#define STOREU(p, i, v) (p[i] = (v))
#define LANE(v, l) (v)
#else
#define VEC vec4
#define VECI ivec4
#define MASK bvec4
#define SELECT(m, a, b) mix(b, a, m)
#define LT(a, b) lessThan(a, b)
#define LE(a, b) lessThanEqual(a, b)
#define EQ(a, b) equal(a, b)
#define MAND(a, b) bvec4(ivec4(a) & ivec4(b))
#define MOR(a, b) bvec4(ivec4(a) | ivec4(b))
#define MNOT(m) not(m)
#define LOADU(p, i) vec4(p[i], p[(i) + 1], p[(i) + 2], p[(i) + 3])
#define LOADA(p, i) (JOIN(p, _v)[(i) >> 2])
#define STOREU(p, i, v) { p[i] = (v).x; p[(i) + 1] = (v).y; p[(i) + 2] = (v).z; p[(i) + 3] = (v).w; }
#define LANE(v, l) (v[l])
#endif

#define FN
#define ID(k) int(gl_GlobalInvocationID[k])
#define LID(k) int(gl_LocalInvocationID[k])
#define GROUP(k) int(gl_WorkGroupID[k])
#define BARRIER barrier()
#define UNROLL [[unroll]]
#define AS(T, x) T(x)
#define SPLAT(x) VEC(x)
#define SPLATI(x) VECI(x)
#define AS_INT(v) floatBitsToInt(v)
#define AS_FLOAT(v) intBitsToFloat(v)
#define TO_INT(v) VECI(v)
#define TO_FLOAT(v) VEC(v)
#define ROUND(v) roundEven(v)
#define FLOOR(v) floor(v)
#define CEIL(v) ceil(v)
#define TRUNC(v) trunc(v)
#define ROOT(v) sqrt(v)
#define FMA(a, b, c) fma(a, b, c)
#define DEVICE_SIN(v) sin(v)
#define DEVICE_COS(v) cos(v)
#define INF intBitsToFloat(0x7f800000)
#define NOT_A_NUMBER intBitsToFloat(0x7fc00000)
#define SIGN_BIT int(0x80000000u)
#define BITS_FLOAT(i) intBitsToFloat(i)
#define BITS_uint8_t(x0, x1, x2, x3) uint8_t(x0)
#define BITS_uint16_t(x0, x1, x2, x3) uint16_t(x0)
#define BITS_uint(x0, x1, x2, x3) uint(x0)
#define BITS_uvec2(x0, x1, x2, x3) uvec2(uint(x0), uint(x1))
#define BITS_uvec4(x0, x1, x2, x3) uvec4(uint(x0), uint(x1), uint(x2), uint(x3))
#define BITS_ELEMENT(E, x0, x1, x2, x3) JOIN(BITS_, E)(x0, x1, x2, x3)

// Vulkan's own division may be 2.5 units in the last place off: one step of Newton makes it exact, where it is finite.
VEC w_quotient(VEC a, VEC b) {
  VEC q = a / b;
  VEC better = fma(fma(-q, b, a), VEC(1.0f) / b, q);
  MASK usable = MAND(LT(abs(better), VEC(3.0e38f)), LT(VEC(1.0e-30f), abs(better)));
  return SELECT(usable, better, q);
}
#define DIV(a, b) w_quotient(a, b)

// The remainder by long division, exact: every subtraction is of numbers within a factor of two.
float w_remainder(float x, float y) {
  float a = abs(x);
  float b = abs(y);
  if (!(a < INF) || !(b > 0.0f)) return NOT_A_NUMBER;
  if (a < b) return x;
  float t = b;
  while (t <= 0.5f * a) t += t;
  for (;;) {
    if (a >= t) a -= t;
    if (t <= b) break;
    t *= 0.5f;
  }
  return x < 0.0f ? -a : a;
}
#if W == 1
#define DEVICE_FMOD(a, b) w_remainder(a, b)
#else
VEC w_remainders(VEC a, VEC b) {
  return VEC(w_remainder(a.x, b.x), w_remainder(a.y, b.y), w_remainder(a.z, b.z), w_remainder(a.w, b.w));
}
#define DEVICE_FMOD(a, b) w_remainders(a, b)
#endif
