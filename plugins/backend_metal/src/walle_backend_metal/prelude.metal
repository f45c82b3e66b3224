// The kernel dialect (docs/device-kernels.md) in the Metal shading language. W is defined before this.
#include <metal_stdlib>
using namespace metal;
#pragma clang fp contract(off)
typedef float f32;
typedef int i32;
typedef uint u32;
typedef long i64;
typedef char i8;
typedef uchar u8;
typedef ushort u16;
typedef uint2 u32x2;
typedef uint4 u32x4;

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if W == 1
#define VEC float
#define VECI int
#define MASK bool
#define SELECT(m, a, b) ((m) ? (a) : (b))
#define LOADU(p, i) ((p)[i])
#define LOADA(p, i) ((p)[i])
#define STOREU(p, i, v) ((p)[i] = (v))
#define LANE(v, l) (v)
#else
#define VEC float4
#define VECI int4
#define MASK bool4
#define SELECT(m, a, b) select(b, a, m)
#define LOADU(p, i) (float4(*(device const packed_float4*)((p) + (i))))
#define LOADA(p, i) (*(device const float4*)((p) + (i)))
#define STOREU(p, i, v) (*(device packed_float4*)((p) + (i)) = packed_float4(v))
#define LANE(v, l) ((v)[l])
#endif

#define FN static inline
#define ID(k) int(global_[k])
#define LID(k) int(local_[k])
#define GROUP(k) int(group_[k])
#define BARRIER threadgroup_barrier(mem_flags::mem_threadgroup)
#define UNROLL _Pragma("clang loop unroll(full)")
#define AS(T, x) T(x)
#define SPLAT(x) VEC(x)
#define SPLATI(x) VECI(x)
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define EQ(a, b) ((a) == (b))
#define MAND(a, b) ((a) && (b))
#define MOR(a, b) ((a) || (b))
#define MNOT(m) (!(m))
#define AS_INT(v) as_type<VECI>(v)
#define AS_FLOAT(v) as_type<VEC>(v)
#define TO_INT(v) VECI(v)
#define TO_FLOAT(v) VEC(v)
#define ROUND(v) rint(v)
#define FLOOR(v) floor(v)
#define CEIL(v) ceil(v)
#define TRUNC(v) trunc(v)
#define ROOT(v) precise::sqrt(v)
#define FMA(a, b, c) fma(a, b, c)
#define DIV(a, b) ((a) / (b))
#define DEVICE_SIN(v) precise::sin(v)
#define DEVICE_COS(v) precise::cos(v)
#define DEVICE_FMOD(a, b) fmod(a, b)
#define INF INFINITY
#define NOT_A_NUMBER NAN
#define SIGN_BIT int(0x80000000)
#define BITS_FLOAT(i) as_type<float>(int(i))
#define BITS_u8(x0, x1, x2, x3) uchar(x0)
#define BITS_u16(x0, x1, x2, x3) ushort(x0)
#define BITS_u32(x0, x1, x2, x3) uint(x0)
#define BITS_u32x2(x0, x1, x2, x3) uint2(uint(x0), uint(x1))
#define BITS_u32x4(x0, x1, x2, x3) uint4(uint(x0), uint(x1), uint(x2), uint(x3))
#define BITS_ELEMENT(E, x0, x1, x2, x3) JOIN(BITS_, E)(x0, x1, x2, x3)
