// The kernel dialect (docs/device-kernels.md) in OpenCL C 1.2. W is defined before this.
#pragma OPENCL FP_CONTRACT OFF
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
#define MASK int
#define SELECT(m, a, b) ((m) ? (a) : (b))
#define MNOT(m) (!(m))
#define LOADU(p, i) ((p)[i])
#define LOADA(p, i) ((p)[i])
#define STOREU(p, i, v) ((p)[i] = (v))
#define LANE(v, l) (v)
#else
#define VEC JOIN(float, W)
#define VECI JOIN(int, W)
#define MASK JOIN(int, W)
#define SELECT(m, a, b) select(b, a, m)
#define MNOT(m) (~(m))
#define LOADU(p, i) JOIN(vload, W)(0, (p) + (i))
#define LOADA(p, i) (*(__global const VEC*)((p) + (i)))
#define STOREU(p, i, v) JOIN(vstore, W)(v, 0, (p) + (i))
#define LANE(v, l) (((__private const float*)&(v))[l])
#endif

#define FN static inline
#define ID(k) ((int)get_global_id(k))
#define LID(k) ((int)get_local_id(k))
#define GROUP(k) ((int)get_group_id(k))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define UNROLL _Pragma("unroll")
#define AS(T, x) ((T)(x))
#define SPLAT(x) ((VEC)(x))
#define SPLATI(x) ((VECI)(x))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define EQ(a, b) ((a) == (b))
#define MAND(a, b) ((a) & (b))
#define MOR(a, b) ((a) | (b))
#define AS_INT(v) JOIN(as_, VECI)(v)
#define AS_FLOAT(v) JOIN(as_, VEC)(v)
#define TO_INT(v) JOIN(JOIN(convert_, VECI), _rtz)(v)
#define TO_FLOAT(v) JOIN(JOIN(convert_, VEC), _rte)(v)
#define ROUND(v) rint(v)
#define FLOOR(v) floor(v)
#define CEIL(v) ceil(v)
#define TRUNC(v) trunc(v)
#define ROOT(v) sqrt(v)
#define FMA(a, b, c) fma(a, b, c)
#define DIV(a, b) ((a) / (b))
#define DEVICE_SIN(v) sin(v)
#define DEVICE_COS(v) cos(v)
#define DEVICE_FMOD(a, b) fmod(a, b)
#define INF INFINITY
#define NOT_A_NUMBER NAN
#define SIGN_BIT ((int)0x80000000)
#define BITS_FLOAT(i) as_float((int)(i))
#define BITS_u8(x0, x1, x2, x3) ((uchar)(x0))
#define BITS_u16(x0, x1, x2, x3) ((ushort)(x0))
#define BITS_u32(x0, x1, x2, x3) ((uint)(x0))
#define BITS_u32x2(x0, x1, x2, x3) ((uint2)((uint)(x0), (uint)(x1)))
#define BITS_u32x4(x0, x1, x2, x3) ((uint4)((uint)(x0), (uint)(x1), (uint)(x2), (uint)(x3)))
#define BITS_ELEMENT(E, x0, x1, x2, x3) JOIN(BITS_, E)(x0, x1, x2, x3)
