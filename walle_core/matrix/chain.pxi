# Chains of elementwise operators; fusion.py records them.

cdef extern from "walle/matrix/chain.hpp" namespace "walle::matrix" nogil:
    cdef cppclass ChainStep:
        unary_row one
        binary_row two
        walle_kernel_fn engine
        int dst, a, b, item_dst
    cdef cppclass ChainOperand:
        const char* data
        int64_t period, item

cdef extern from *:
    """
    static inline int64_t walle_chain(const walle::matrix::ChainStep* steps, int count,
                                      const walle::matrix::ChainOperand* operands, int registers, int64_t widest, int64_t n,
                                      char* dst) {
      return guarded([&] { return walle::matrix::run_chain(steps, count, operands, registers, widest, n, dst), 0; });
    }
    """
    int64_t walle_chain(const ChainStep* steps, int count, const ChainOperand* operands, int registers, int64_t widest,
                        int64_t n, char* dst) nogil


def plan_two(int op, int a, int b):
    """(dtype number to which both operands are cast, that of the result) of operator `op`. Raises ArrayTypeError."""
    cdef int code = (<const unsigned char*><bytes>PROMOTED)[13 * a + b]
    if code < kF32 and (op == kDiv or kAtan2 <= op <= kNextAfter):
        code = kF64
    if find_binary(op, code) == NULL:
        raise ArrayTypeError(f"{BINARY_NAMES[op]}() is not defined for {_NAMES[a]} and {_NAMES[b]}")
    return code, kBool if op >= kEq else code


def plan_one(int op, int code):
    """(dtype number to which the operand is cast, that of the result) of operator `op`. Raises ArrayTypeError."""
    if find_unary(op, code) == NULL and code < kF32 and not (
            op == kImag or op == kInvert or op == kLNot or op == kSign or op == kNeg or op == kSignBit):
        code = kF64
    if find_unary(op, code) == NULL:
        raise ArrayTypeError(f"{UNARY_NAMES[op]}() is not defined for {_NAMES[code]}")
    if op == kIsFinite or op == kIsInf or op == kIsNaN or op == kLNot or op == kSignBit:
        return code, kBool
    return code, code - 2 if code >= kC64 and (op == kAbs or op == kReal or op == kImag) else code


@cython.no_gc
@cython.final
cdef class Chain:
    """Steps over up to 16 operands, run in one pass.

    Args:
        steps: (kind, op, destination, a, b, dtype number of the operands, of the result, fast) each, kind "one", "two" or
            "cast"; destinations and sources as in walle/matrix/chain.hpp. The last one's destination is -1. `fast`: an
            engine's float32 row is used if there is one.
        registers: how many the steps use, at most 16.
        shape: of the result.
        program: the same steps for an engine's expression kernel, as `engine.chain_program` gives them, or None.
    """

    cdef ChainStep steps[64]
    cdef walle_kernel_fn engine
    cdef const char* arg
    cdef object keep
    cdef int count, registers, code
    cdef int64_t widest
    cdef Py_ssize_t sizes[12]
    cdef int rank

    def __init__(self, steps, int registers, shape, program):
        cdef int i
        if not 0 < len(steps) <= 64:
            raise ArrayValueError(f"a chain has 1 to 64 steps, not {len(steps)}")
        memset(<void*>self.steps, 0, sizeof(self.steps))
        self.rank = sizes_of(shape, self.sizes)
        self.count, self.registers, self.widest = len(steps), registers, 1
        for i, (kind, op, dst, a, b, code, result, fast) in enumerate(steps):
            if kind == "two":
                self.steps[i].two = find_binary(op, code)
                if fast and code == kF32:
                    self.steps[i].engine = engine_row(2, op)
            elif kind == "one":
                self.steps[i].one = find_unary(op, code)
                if fast and code == kF32:
                    self.steps[i].engine = engine_row(1, op)
            else:
                self.steps[i].one = find_cast(code, result)
            self.steps[i].dst, self.steps[i].a, self.steps[i].b = dst, a, b
            self.steps[i].item_dst = kItem[<int>result]
            self.widest = max(self.widest, kItem[<int>result], kItem[<int>code])
            self.code = result
        self.engine = NULL
        self.keep = program
        if program is not None:
            self.engine = <walle_kernel_fn><uintptr_t>program[0]
            self.arg = <bytes>program[1]

    def run(self, list operands):
        """Runs on Arrays whose shapes are the result's, the end of it, or of one element, or those that `program` was made for."""
        cdef ChainOperand given[16]
        cdef void* buf[17]
        cdef int i
        cdef Array a
        cdef int64_t bad
        if len(operands) > 16:
            raise ArrayValueError(f"a chain has at most 16 operands, not {len(operands)}")
        cdef Array out = new_array(self.code, self.rank, self.sizes)
        for i in range(len(operands)):
            a = <Array?>operands[i]
            given[i].data, given[i].item = <const char*>a.tensor.data, a.tensor.itemsize
            given[i].period = 0 if a.tensor.count == 1 else a.tensor.count
            buf[i + 1] = a.tensor.data
        cdef int64_t n = out.tensor.count
        cdef char* d = <char*>out.tensor.data
        if self.engine != NULL:
            buf[0] = d
            with nogil:
                bad = walle_expression(self.engine, buf, self.arg, n)
            checked(bad)
            return out
        with nogil:
            bad = walle_chain(self.steps, self.count, given, self.registers, self.widest, n, d)
        checked(bad)
        return out
