# Row loops and walks of walle/matrix, and how an engine's kernels are called.

cdef extern from "walle/abi.h" nogil:
    ctypedef void* walle_kernel_fn  # called in C++ only

cdef extern from "walle/matrix/types.hpp" namespace "walle::matrix" nogil:
    ctypedef void (*binary_row)(void*, const void*, const void*, int64_t, int) noexcept
    ctypedef void (*unary_row)(void*, const void*, int64_t) noexcept
    ctypedef enum Binary:
        kAdd, kSub, kMul, kDiv, kFloorDiv, kRem, kPow, kMax, kMin, kAtan2, kHypot, kLogAddExp, kCopySign, kNextAfter
        kAnd, kOr, kXor, kShl, kShr, kEq, kNe, kLt, kLe, kGt, kGe, kLAnd, kLOr, kLXor, kBinaries
    ctypedef enum Unary:
        kAbs, kImag, kInvert, kIsFinite, kIsInf, kIsNaN, kLNot, kNeg, kPos, kReal, kSign, kSignBit, kUnaries, kRound
        kCeil, kFloor, kTrunc, kSquare, kConj
    binary_row find_binary(int op, int code)
    unary_row find_unary(int op, int code)
    unary_row find_cast(int source, int target)

cdef extern from "walle/matrix/walk.hpp" namespace "walle::matrix" nogil:
    cdef cppclass Row2:
        binary_row own
        walle_kernel_fn engine
    cdef cppclass Row1:
        unary_row own
        walle_kernel_fn engine
    void walk2(const Row2& row, char* dst, const char* a, const char* b, int rank, const int64_t* sizes,
               const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item)
    void copy_strided(char* d, const int64_t* sd, const char* s, const int64_t* ss, int rank, const int64_t* sizes,
                      int64_t item)
    void walle_select "walle::matrix::select"(char* d, const uint8_t* c, const char* p, const char* q, int64_t n,
                                              int64_t item)
    bint gather(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                int64_t bytes)
    bint scatter(char* dst, const char* src, const int64_t* index, int64_t count, int64_t size, int64_t bytes,
                 bint repeated)
    bint gather_along(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                      int64_t inner, int64_t item)

cdef extern from *:
    """
    static inline void walle_run1(walle::matrix::unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n) {
      walle::matrix::Row1 row = {own, engine};
      row(d, a, n);
    }
    static inline void walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) {
      void* buf[2] = {d, const_cast<void*>(s)};
      const int64_t arg[3] = {outer, n, inner};
      const walle_call call = {buf, arg, 0, outer * inner, 0, 1};
      engine(&call);
    }
    static inline void walle_run2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                  const void* b, int64_t n, int dense) {
      walle::matrix::Row2 row = {own, engine};
      row(d, a, b, n, dense);
    }
    static inline void walle_walk2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                   const void* b, int rank, const int64_t* sizes, const int64_t* sa, const int64_t* sb,
                                   int64_t item_dst, int64_t item) {
      walle::matrix::Row2 row = {own, engine};
      walle::matrix::walk2(row, (char*)d, (const char*)a, (const char*)b, rank, sizes, sa, sb, item_dst, item);
    }
    """
    void walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) nogil
    void walle_run1(unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n) nogil
    void walle_run2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int64_t n,
                    int dense) nogil
    void walle_walk2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int rank,
                     const int64_t* sizes, const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item) nogil
