// A chain of elementwise operators in one pass, float32: the chain runs block by block, and what is between two operators
// stays in vector registers (cheap operators, tape.hpp) or in blocks of the first-level cache.
//
// expression/Chain: buf dst, operand 0, operand 1, ...
//   arg  0 instructions (at most kInstructions), 1 operands, then per operand: mode, inner (see Mode), then per instruction:
//        address of a unary or binary row, arity, destination register, source a, source b, parameters, parameter 0, ...
//        A register r >= 0 is a block (at most kRegisters); the last instruction writes to dst whatever its register;
//        a source s < 0 is operand -1 - s.
//   dst may be the same memory as a dense operand. Units: elements of dst.
#ifndef WALLE_KERNELS_EXPRESSION_HPP
#define WALLE_KERNELS_EXPRESSION_HPP
#ifndef WALLE_ISA
#error "compile an isa_*.cpp, not this header"
#endif
#include "walle/kernels/tape.hpp"

namespace walle { namespace WALLE_ISA { namespace {

struct Chain {
  static constexpr int64_t kBlock = 512;
  static constexpr int kRegisters = 8, kOperands = 16, kInstructions = 64, kResult = kRegisters;
  enum Mode : int64_t { kDense = 0, kScalar = 1, kRow = 2 /* [i % inner] */, kColumn = 3 /* [i / inner] */ };

  // Instructions as steps: a row of the table (`row` is its instruction), or moves first .. first+count of the tape.
  struct Step {
    const int64_t* row;
    int first, count;
  };
  const int64_t* modes;
  int64_t instructions, operands;
  const int64_t* code[kInstructions];
  int32_t cheap[kInstructions];  // the instruction's code on the tape, or kNone
  Tape::Move moves[3 * kInstructions];
  Step steps[kInstructions];
  int count = 0;

  explicit Chain(const int64_t* arg) : modes(arg + 2), instructions(arg[0]), operands(arg[1]) {
    const int64_t* next = modes + 2 * operands;
    for (int64_t k = 0; k < instructions; ++k, next += 6 + next[5]) {
      code[k] = next;
      cheap[k] = Tape::code_of(reinterpret_cast<walle_kernel_fn>(next[0]));
    }
    int made = 0;
    int64_t held = kResult;  // the register whose value the accumulator holds
    const auto add_move = [&](int32_t what, int64_t source) { moves[made++] = {what, int32_t(source), nullptr}; };
    for (int64_t k = 0; k < instructions; ++k) {
      const int64_t *c = code[k], a = c[3], b = c[4];
      const int32_t op = cheap[k];
      if (op == Tape::kNone) {
        steps[count++] = {c, 0, 0};
        held = kResult;
        continue;
      }
      if (k == 0 || cheap[k - 1] == Tape::kNone) steps[count++] = {nullptr, made, 0};
      const bool second = c[1] > 1 && b == held && a != held;  // the accumulator is the right operand
      if (a != held && !second) add_move(one_value(a) ? Tape::kLoadValue : Tape::kLoad, a);
      if (c[1] == 1) {
        add_move(op, 0);
      } else if (a == b) {
        add_move(op + Tape::kTwice, 0);
      } else {
        const int64_t other = second ? a : b;
        add_move(op + (one_value(other) ? Tape::kValue : Tape::kBlock) + int(second), other);
      }
      held = c[2];
      if (k + 1 == instructions) add_move(Tape::kStore, kResult);
      else if (read_later(k)) add_move(Tape::kStore, held);
      steps[count - 1].count = made - steps[count - 1].first;
    }
  }
  bool one_value(int64_t source) const { return source < 0 && modes[2 * (-1 - source)] == kScalar; }
  // Whether the value of instruction k is read from memory: by another than a cheap one that follows it.
  bool read_later(int64_t k) const {
    const int64_t r = code[k][2];
    for (int64_t i = k + 1; i < instructions; ++i) {
      const int64_t* c = code[i];
      if ((c[3] == r || (c[1] > 1 && c[4] == r)) && (i > k + 1 || cheap[i] == Tape::kNone)) return true;
      if (c[2] == r) return false;
    }
    return false;
  }

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

  void run_row(const int64_t* c, float* out, const float* const* data, float (*registers)[kBlock], int64_t n) const {
    const float* source[2] = {nullptr, nullptr};
    int64_t stride[2] = {1, 1};
    for (int64_t s = 0; s < c[1]; ++s) {
      const int64_t r = c[3 + s];
      source[s] = r >= 0 ? registers[r] : data[-1 - r];
      stride[s] = one_value(r) ? 0 : 1;
    }
    void* buf[3] = {out, const_cast<float*>(source[0]), const_cast<float*>(source[1])};
    const int64_t binary[4] = {1, n, stride[0], stride[1]};
    const walle_call inner = {buf, c[1] > 1 ? binary : c + 6, 0, n, 0, 1};
    reinterpret_cast<walle_kernel_fn>(c[0])(&inner);
  }
};

inline void expression_chain(const walle_call* call) {
  alignas(64) float registers[Chain::kRegisters][Chain::kBlock];
  alignas(64) float rooms[Chain::kOperands][Chain::kBlock];
  const float* data[Chain::kOperands];
  Chain chain(call->arg);
  for (int64_t i0 = call->begin; i0 < call->end; i0 += Chain::kBlock) {
    const int64_t n = call->end - i0 < Chain::kBlock ? call->end - i0 : Chain::kBlock;
    float* const dst = static_cast<float*>(call->buf[0]) + i0;
    for (int64_t o = 0; o < chain.operands; ++o) {
      const float* whole = static_cast<const float*>(call->buf[1 + o]);
      data[o] = Chain::block(whole, chain.modes[2 * o], chain.modes[2 * o + 1], i0, n, rooms[o]);
    }
    for (int s = 0; s < chain.count; ++s) {
      const Chain::Step& step = chain.steps[s];
      if (step.row) {
        chain.run_row(step.row, s + 1 == chain.count ? dst : registers[step.row[2]], data, registers, n);
        continue;
      }
      for (Tape::Move *m = chain.moves + step.first, *end = m + step.count; m != end; ++m) {
        const int32_t from = m->source;
        m->data = from == Chain::kResult ? dst : from >= 0 ? registers[from] : const_cast<float*>(data[-1 - from]);
      }
      Tape::run(chain.moves + step.first, step.count, n);
    }
  }
}

}}}  // namespace walle::WALLE_ISA::(anonymous)

#define WALLE_EXPRESSION_ROWS {"expression", "Chain", "float32", expression_chain},
#endif
