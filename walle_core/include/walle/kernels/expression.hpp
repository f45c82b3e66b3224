// A chain of elementwise operators in one pass, float32: the chain runs block by block, and what is between two operators
// stays in blocks of the first-level cache.
//
// expression/Chain: buf dst, operand 0, operand 1, ...
//   arg  0 instructions, 1 operands, then per operand: mode, inner (see Mode), then per instruction: address of a unary
//        or binary row, arity, destination register, source a, source b, parameters, parameter 0, ...
//        A register r >= 0 is a block (at most kRegisters); the last instruction writes to dst whatever its register;
//        a source s < 0 is operand -1 - s.
//   dst may be the same memory as a dense operand. Units: elements of dst.
#ifndef WALLE_KERNELS_EXPRESSION_HPP
#define WALLE_KERNELS_EXPRESSION_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/abi.h"

namespace walle { namespace WALLE_ISA { namespace {

struct Chain {
  static constexpr int64_t kBlock = 512;
  static constexpr int kRegisters = 8, kOperands = 16;
  enum Mode : int64_t { kDense = 0, kScalar = 1, kRow = 2 /* [i % inner] */, kColumn = 3 /* [i / inner] */ };

  // The operand's elements i0 .. i0+n as a dense block; `room` is used where they are not one already.
  static const float* block(const float* p, int64_t mode, int64_t inner, int64_t i0, int64_t n, float* room) {
    if (mode == kDense) return p + i0;
    if (mode == kScalar) return p;
    int64_t at = i0 % inner, row = i0 / inner;
    if (mode == kRow && at + n <= inner) return p + at;
    for (int64_t i = 0; i < n;) {
      const int64_t run = inner - at < n - i ? inner - at : n - i;
      if (mode == kRow) {
        __builtin_memcpy(room + i, p + at, size_t(run) * sizeof(float));
      } else {
        for (int64_t k = 0; k < run; ++k) room[i + k] = p[row];
      }
      i += run, at = 0, ++row;
    }
    return room;
  }
};

inline void expression_chain(const walle_call* call) {
  alignas(64) float registers[Chain::kRegisters][Chain::kBlock];
  alignas(64) float rooms[2][Chain::kBlock];
  const int64_t* arg = call->arg;
  const int64_t instructions = arg[0], operands = arg[1];
  const int64_t* modes = arg + 2;
  float* dst = static_cast<float*>(call->buf[0]);
  for (int64_t i0 = call->begin; i0 < call->end; i0 += Chain::kBlock) {
    const int64_t n = call->end - i0 < Chain::kBlock ? call->end - i0 : Chain::kBlock;
    const int64_t* code = modes + 2 * operands;
    for (int64_t k = 0; k < instructions; ++k) {
      const int64_t arity = code[1], params = code[5];
      float* out = k + 1 == instructions ? dst + i0 : registers[code[2]];
      const float* source[2];
      int64_t stride[2] = {1, 1};
      for (int64_t s = 0; s < arity; ++s) {
        const int64_t r = code[3 + s];
        if (r >= 0) {
          source[s] = registers[r];
        } else {
          const int64_t* mode = modes + 2 * (-1 - r);
          const float* p = static_cast<const float*>(call->buf[-r]);
          source[s] = Chain::block(p, mode[0], mode[1], i0, n, rooms[s]);
          stride[s] = mode[0] == Chain::kScalar ? 0 : 1;
        }
      }
      void* buf[3] = {out, const_cast<float*>(source[0]), arity > 1 ? const_cast<float*>(source[1]) : nullptr};
      const int64_t binary[4] = {1, n, stride[0], stride[1]};
      walle_call inner = {buf, arity > 1 ? binary : code + 6, 0, n, 0, 1};
      reinterpret_cast<walle_kernel_fn>(code[0])(&inner);
      code += 6 + params;
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_EXPRESSION_ROWS {"expression", "Chain", "float32", expression_chain},
#endif
