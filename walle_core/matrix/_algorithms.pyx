# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Linear algebra, transforms and orders on Tensors; the callers check shapes and dtypes and allocate the results."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from walle_core._native.tensor cimport Tensor, checked

from walle_core._native.tensor import stop_place

cdef extern from "walle/stop.hpp" nogil:
    void walle_stop_connect(uint64_t function)

cdef extern from "walle/matrix/batches.hpp" namespace "walle::matrix" nogil:
    int64_t cpp_solve "walle::matrix::solve"(int, const void*, const void*, void*, int64_t, int64_t, int64_t)
    int64_t cpp_det "walle::matrix::det"(int, const void*, void*, void*, void*, int64_t, int64_t)
    int64_t cpp_cholesky "walle::matrix::cholesky"(int, const void*, void*, int64_t, int64_t, bint)
    int64_t cpp_qr "walle::matrix::qr"(int, const void*, void*, void*, int64_t, int64_t, int64_t, bint)
    int64_t cpp_eigh "walle::matrix::eigh"(int, const void*, void*, void*, int64_t, int64_t, bint)
    int64_t cpp_svd "walle::matrix::svd"(int, const void*, void*, void*, void*, int64_t, int64_t, int64_t, bint)

cdef extern from "walle/matrix/entries.hpp" namespace "walle::matrix" nogil:
    int64_t cpp_transform "walle::matrix::transform"(int, bint, const void*, void*, int64_t, int64_t, int64_t, int64_t,
                                                  bint, double)
    int64_t cpp_sort "walle::matrix::sort"(int, const void*, int64_t*, void*, int64_t, int64_t, int64_t, bint)
    int64_t cpp_search "walle::matrix::search"(int, const void*, const int64_t*, int64_t, const void*, int64_t, bint,
                                            int64_t*)
    int64_t cpp_starts "walle::matrix::starts"(int, const void*, const int64_t*, int64_t, uint8_t*, bint)
    int64_t cpp_product "walle::matrix::product"(int, const void*, const void*, void*, int64_t, int64_t, int64_t,
                                                 const int64_t*, int64_t)
    int64_t cpp_extreme "walle::matrix::extreme"(int, const void*, int64_t*, int64_t, int64_t, int64_t, bint)
    int64_t cpp_dots "walle::matrix::dots"(int, const void*, const void*, void*, int64_t, int64_t, int64_t, int64_t, bint)
    void cpp_reform "walle::matrix::reform"(int, bint, const void*, void*, int64_t, int64_t)

cdef extern from "walle/matrix/random.hpp" namespace "walle::matrix" nogil:
    void random_seed(uint64_t*, uint64_t)
    void random_uniform(uint64_t*, double*, int64_t)
    void random_normal(uint64_t*, double*, int64_t)
    void random_integers(uint64_t*, int64_t*, int64_t, int64_t, uint64_t)
    void random_order(uint64_t*, int64_t*, int64_t)


walle_stop_connect(stop_place())


cdef inline void* _at(Tensor tensor) noexcept:
    return tensor.data if tensor is not None else NULL


def solve(int code, Tensor a not None, Tensor b, Tensor x not None, int64_t batch, int64_t n, int64_t m):
    """x = a^-1 b, or a^-1 if b is None; index of the first singular matrix, or -1."""
    cdef void* pa = a.data
    cdef void* pb = _at(b)
    cdef void* px = x.data
    cdef int64_t bad
    with nogil:
        bad = cpp_solve(code, pa, pb, px, batch, n, m)
    return checked(bad)


def det(int code, Tensor a not None, Tensor out, Tensor sign, Tensor log, int64_t batch, int64_t n):
    """Determinants into `out`, or into `sign` and `log` if that is None."""
    cdef void* pa = a.data
    cdef void* po = _at(out)
    cdef void* ps = _at(sign)
    cdef void* pl = _at(log)
    cdef int64_t bad
    with nogil:
        bad = cpp_det(code, pa, po, ps, pl, batch, n)
    checked(bad)


def cholesky(int code, Tensor a not None, Tensor out not None, int64_t batch, int64_t n, bint upper):
    """Triangular factors; index of the first matrix that is not positive definite, or -1."""
    cdef void* pa = a.data
    cdef void* po = out.data
    cdef int64_t bad
    with nogil:
        bad = cpp_cholesky(code, pa, po, batch, n, upper)
    return checked(bad)


def qr(int code, Tensor a not None, Tensor q, Tensor r not None, int64_t batch, int64_t m, int64_t n, bint complete):
    """Q (unless None) and R."""
    cdef void* pa = a.data
    cdef void* pq = _at(q)
    cdef void* pr = r.data
    cdef int64_t bad
    with nogil:
        bad = cpp_qr(code, pa, pq, pr, batch, m, n, complete)
    checked(bad)


def eigh(int code, Tensor a not None, Tensor w not None, Tensor v, int64_t batch, int64_t n, bint upper):
    """Eigenvalues and, unless None, eigenvectors; index of the first matrix without convergence, or -1."""
    cdef void* pa = a.data
    cdef void* pw = w.data
    cdef void* pv = _at(v)
    cdef int64_t bad
    with nogil:
        bad = cpp_eigh(code, pa, pw, pv, batch, n, upper)
    return checked(bad)


def svd(int code, Tensor a not None, Tensor u, Tensor s not None, Tensor vh, int64_t batch, int64_t m, int64_t n,
        bint full):
    """Singular values and, unless None, both factors; index of the first matrix without convergence, or -1."""
    cdef void* pa = a.data
    cdef void* pu = _at(u)
    cdef void* ps = s.data
    cdef void* pv = _at(vh)
    cdef int64_t bad
    with nogil:
        bad = cpp_svd(code, pa, pu, ps, pv, batch, m, n, full)
    return checked(bad)


def transform(int kind, bint wide, Tensor a not None, Tensor out not None, int64_t outer, int64_t length, int64_t n,
              int64_t inner, bint flag, double factor):
    """Fourier transforms along the middle axis. kind: 0 complex (flag: inverse), 1 real to complex, 2 complex to real
    (flag: conjugate the complex side)."""
    cdef void* pa = a.data
    cdef void* po = out.data
    cdef int64_t bad
    with nogil:
        bad = cpp_transform(kind, wide, pa, po, outer, length, n, inner, flag, factor)
    checked(bad)


def sort(int code, Tensor a not None, Tensor order, Tensor values, int64_t outer, int64_t n, int64_t inner,
         bint descending):
    """Stable sort along the middle axis: int64 positions into `order`, elements into `values`, each unless None."""
    cdef void* pa = a.data
    cdef int64_t* po = <int64_t*>_at(order)
    cdef void* pv = _at(values)
    cdef int64_t bad
    with nogil:
        bad = cpp_sort(code, pa, po, pv, outer, n, inner, descending)
    checked(bad)


def search(int code, Tensor x not None, Tensor sorter, Tensor v not None, Tensor out not None, bint right):
    """Positions in the sorted x where the elements of v would go in."""
    cdef void* px = x.data
    cdef int64_t* ps = <int64_t*>_at(sorter)
    cdef void* pv = v.data
    cdef int64_t* po = <int64_t*>out.data
    cdef int64_t n = x.count, m = v.count
    cdef int64_t bad
    with nogil:
        bad = cpp_search(code, px, ps, n, pv, m, right, po)
    checked(bad)


def starts(int code, Tensor x not None, Tensor order not None, Tensor out not None, bint add):
    """out[i] = True where x[order[i]] differs from its predecessor; with `add`, or was True."""
    cdef void* px = x.data
    cdef int64_t* po = <int64_t*>order.data
    cdef uint8_t* ps = <uint8_t*>out.data
    cdef int64_t n = order.count
    cdef int64_t bad
    with nogil:
        bad = cpp_starts(code, px, po, n, ps, add)
    checked(bad)


def dots(int code, Tensor a not None, Tensor b not None, Tensor out not None, int64_t count, int64_t k, int64_t a_step,
         int64_t b_step, bint conjugate):
    """out[i] = sum of a[i * a_step + j] * b[i * b_step + j], j < k; with `conjugate`, of a's conjugates."""
    cdef void* pa = a.data
    cdef void* pb = b.data
    cdef void* po = out.data
    cdef int64_t bad
    with nogil:
        bad = cpp_dots(code, pa, pb, po, count, k, a_step, b_step, conjugate)
    checked(bad)


def reform(int form, bint wide, Tensor a not None, Tensor out not None, int64_t rows, int64_t columns):
    """Complex rows in real form [2 rows][2 columns] (0) or parted [2 rows][columns] (1), or joined from [2 rows][2 columns] (2)."""
    cdef void* pa = a.data
    cdef void* po = out.data
    with nogil:
        cpp_reform(form, wide, pa, po, rows, columns)


def extreme(int code, Tensor a not None, Tensor out not None, int64_t outer, int64_t n, int64_t inner, bint smallest):
    """Positions (int64) of the first largest or smallest elements along the middle axis."""
    cdef void* pa = a.data
    cdef int64_t* po = <int64_t*>out.data
    cdef int64_t bad
    with nogil:
        bad = cpp_extreme(code, pa, po, outer, n, inner, smallest)
    checked(bad)


def product(int code, Tensor a not None, Tensor b not None, Tensor out not None, int64_t m, int64_t n, int64_t k, dims):
    """out [batch, m, n] = a b, not complex; dims: (size, step of a, step of b) per batch dimension."""
    cdef int64_t sizes[36]
    cdef int i, rank = len(dims)
    sizes[0] = 0
    for i in range(rank):
        sizes[3 * i], sizes[3 * i + 1], sizes[3 * i + 2] = dims[i]
    cdef void* pa = a.data
    cdef void* pb = b.data
    cdef void* po = out.data
    cdef int64_t bad
    if m * n * k < 4096 and rank == 0:
        bad = cpp_product(code, pa, pb, po, m, n, k, sizes, rank)
    else:
        with nogil:
            bad = cpp_product(code, pa, pb, po, m, n, k, sizes, rank)
    checked(bad)


def seed(Tensor state not None, uint64_t value):
    """Puts a generator's state (uint64[4]) at the start of the sequence of a seed."""
    random_seed(<uint64_t*>state.data, value)


def draw(int kind, Tensor state not None, Tensor out not None, int64_t low=0, uint64_t span=0):
    """Fills `out`: 0 uniform in [0, 1), 1 standard normal (float64), 2 integers low .. low + span - 1, 3 a random order (int64).

    The interpreter's lock is held, as the state is changed.
    """
    cdef uint64_t* s = <uint64_t*>state.data
    if kind == 0:
        random_uniform(s, <double*>out.data, out.count)
    elif kind == 1:
        random_normal(s, <double*>out.data, out.count)
    elif kind == 2:
        random_integers(s, <int64_t*>out.data, out.count, low, span)
    else:
        random_order(s, <int64_t*>out.data, out.count)
