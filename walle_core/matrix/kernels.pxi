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

cdef extern from "walle/stop.hpp" nogil:
    ctypedef struct walle_stop:
        pass
    const walle_stop* walle_stop_of_thread()
    void walle_stop_connect(uint64_t function)

cdef extern from "walle/matrix/walk.hpp" namespace "walle::matrix" nogil:
    void walle_select "walle::matrix::select"(char* d, const uint8_t* c, const char* p, const char* q, int64_t n,
                                              int64_t item)
    bint scatter(char* dst, const char* src, const int64_t* index, int64_t count, int64_t size, int64_t bytes,
                 bint repeated)
    bint gather_along(char* dst, const char* src, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                      int64_t inner, int64_t item)

# What may last: 0, or what `checked` makes an error of.
cdef extern from *:
    """
    #include "walle/guarded.hpp"
    using walle::guarded;
    static inline int64_t walle_run1(walle::matrix::unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n,
                                     int64_t item_dst, int64_t item) {
      return guarded([&] { return walle::matrix::in_pieces(walle::matrix::Row1{own, engine}, (char*)d, (const char*)a, n, item_dst, item), 0; });
    }
    static inline int64_t walle_run2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                     const void* b, int64_t n, int dense, int64_t item_dst, int64_t item) {
      return guarded([&] {
        return walle::matrix::in_pieces(walle::matrix::Row2{own, engine}, (char*)d, (const char*)a, (const char*)b, n, dense, item_dst, item), 0;
      });
    }
    static inline int64_t walle_walk2(walle::matrix::binary_row own, walle_kernel_fn engine, void* d, const void* a,
                                      const void* b, int rank, const int64_t* sizes, const int64_t* sa, const int64_t* sb,
                                      int64_t item_dst, int64_t item) {
      return guarded([&] {
        return walle::matrix::walk2(walle::matrix::Row2{own, engine}, (char*)d, (const char*)a, (const char*)b, rank, sizes, sa, sb, item_dst, item), 0;
      });
    }
    static inline int64_t walle_copy(char* d, const int64_t* sd, const char* s, const int64_t* ss, int rank,
                                     const int64_t* sizes, int64_t item) {
      return guarded([&] { return walle::matrix::copy_strided(d, sd, s, ss, rank, sizes, item), 0; });
    }
    static inline int64_t walle_gather(char* d, const char* s, const int64_t* index, int64_t outer, int64_t count,
                                       int64_t size, int64_t bytes) {
      return guarded([&] { return walle::matrix::gather(d, s, index, outer, count, size, bytes) ? 0 : 1; });
    }
    // An engine's kernel over its units 0..n, in pieces of `some`.
    static inline int64_t walle_engine(walle_kernel_fn engine, void* const* buf, const int64_t* arg, int64_t n, int64_t some) {
      return guarded([&] {
        for (int64_t i = 0; i < n; i += some) {
          walle_stop_point();
          const walle_call call = {buf, arg, i, n - i < some ? n : i + some, 0, 1};
          engine(&call);
        }
        return 0;
      });
    }
    static inline int64_t walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) {
      void* buf[2] = {d, const_cast<void*>(s)};
      const int64_t arg[3] = {outer, n, inner}, some = (int64_t(1) << 20) / n;
      return walle_engine(engine, buf, arg, outer * inner, some < 64 ? 64 : some);
    }
    static inline int64_t walle_expression(walle_kernel_fn engine, void* const* buf, const void* arg, int64_t n) {
      return walle_engine(engine, buf, static_cast<const int64_t*>(arg), n, int64_t(1) << 18);
    }
    """
    int64_t walle_run1(unary_row own, walle_kernel_fn engine, void* d, const void* a, int64_t n, int64_t item_dst,
                       int64_t item) nogil
    int64_t walle_run2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int64_t n, int dense,
                       int64_t item_dst, int64_t item) nogil
    int64_t walle_walk2(binary_row own, walle_kernel_fn engine, void* d, const void* a, const void* b, int rank,
                        const int64_t* sizes, const int64_t* sa, const int64_t* sb, int64_t item_dst, int64_t item) nogil
    int64_t walle_copy(char* d, const int64_t* sd, const char* s, const int64_t* ss, int rank, const int64_t* sizes,
                       int64_t item) nogil
    int64_t walle_gather(char* d, const char* s, const int64_t* index, int64_t outer, int64_t count, int64_t size,
                         int64_t bytes) nogil
    int64_t walle_fold(walle_kernel_fn engine, void* d, const void* s, int64_t outer, int64_t n, int64_t inner) nogil
    int64_t walle_expression(walle_kernel_fn engine, void* const* buf, const void* arg, int64_t n) nogil


walle_stop_connect(stop_place())
