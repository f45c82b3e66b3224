# Measures of points: int32 or float32 Tensors N x 2. Part of _structure.pyx.

def finite(Tensor points):
    """Whether all numbers of a float32 Tensor are."""
    cdef const float* p = <const float*>points.data
    cdef Py_ssize_t i
    for i in range(points.count):
        if not (p[i] - p[i] == 0):
            return False
    return True


def hull(Tensor points, bint clockwise, bint as_points):
    """Indices of the hull's corners as a list."""
    cdef vector[int] found
    cdef int n = points.count // 2
    cdef bint whole = points.kind == "int32"
    cdef int64_t bad
    with nogil:
        if whole:
            bad = convex_hull(<const P2[int32_t]*>points.data, n, clockwise, as_points, found)
        else:
            bad = convex_hull(<const P2[float]*>points.data, n, clockwise, as_points, found)
    checked(bad)
    return [found[i] for i in range(found.size())]


def convex(Tensor points):
    if points.kind == "int32":
        return bool(is_convex[int32_t](<const P2[int32_t]*>points.data, points.count // 2))
    return bool(is_convex[float](<const P2[float]*>points.data, points.count // 2))


def area(Tensor points):
    if points.kind == "int32":
        return signed_area[int32_t](<const P2[int32_t]*>points.data, points.count // 2)
    return signed_area[float](<const P2[float]*>points.data, points.count // 2)


def length(Tensor points, bint closed):
    if points.kind == "int32":
        return curve_length[int32_t](<const P2[int32_t]*>points.data, points.count // 2, closed)
    return curve_length[float](<const P2[float]*>points.data, points.count // 2, closed)


def position(Tensor points, double x, double y, bint measure):
    if points.kind == "int32":
        return point_in_polygon[int32_t](<const P2[int32_t]*>points.data, points.count // 2, x, y, measure)
    return point_in_polygon[float](<const P2[float]*>points.data, points.count // 2, x, y, measure)


def simplify(Tensor points, double epsilon, bint closed):
    cdef vector[P2[int32_t]] whole
    cdef vector[P2[float]] real
    cdef Tensor out
    cdef int n = points.count // 2
    cdef int64_t bad
    if points.kind == "int32":
        with nogil:
            bad = simplified(<const P2[int32_t]*>points.data, n, epsilon, closed, whole)
        checked(bad)
        out = TensorType((whole.size(), 1, 2), "int32", zero=False)
        memcpy(out.data, whole.data(), out.count * 4)
    else:
        with nogil:
            bad = simplified(<const P2[float]*>points.data, n, epsilon, closed, real)
        checked(bad)
        out = TensorType((real.size(), 1, 2), "float32", zero=False)
        memcpy(out.data, real.data(), out.count * 4)
    return out


cdef vector[P2[double]] doubles(Tensor points) except *:
    cdef vector[P2[double]] out
    cdef Py_ssize_t i
    out.resize(points.count // 2)
    for i in range(points.count // 2):
        if points.kind == "int32":
            out[i].x, out[i].y = (<int32_t*>points.data)[2 * i], (<int32_t*>points.data)[2 * i + 1]
        else:
            out[i].x, out[i].y = (<float*>points.data)[2 * i], (<float*>points.data)[2 * i + 1]
    return out


def rectangle(Tensor points):
    """x, y, width, height, angle of the least rectangle around the corners of a hull."""
    cdef vector[P2[double]] p = doubles(points)
    cdef double out[5]
    least_rectangle(p.data(), <int>p.size(), out)
    return [out[i] for i in range(5)]


def circle(Tensor points):
    """x, y, radius."""
    cdef vector[P2[double]] p = doubles(points)
    cdef double out[3]
    cdef int64_t bad
    with nogil:
        bad = least_circle(p, out)
    checked(bad)
    return [out[i] for i in range(3)]


def raw_moments(Tensor points):
    cdef double m[10]
    if points.kind == "int32":
        polygon_moments[int32_t](<const P2[int32_t]*>points.data, points.count // 2, m)
    else:
        polygon_moments[float](<const P2[float]*>points.data, points.count // 2, m)
    return [m[i] for i in range(10)]


def raw_image_moments(Tensor image, bint binary):
    cdef double m[10]
    cdef int64_t h = image.sizes[0], w = image.sizes[1], bad
    cdef int kind = ("uint8", "uint16", "float32", "float64").index(image.kind)
    with nogil:
        if kind == 0:
            bad = image_moments(<const uint8_t*>image.data, w, h, binary, m)
        elif kind == 1:
            bad = image_moments(<const uint16_t*>image.data, w, h, binary, m)
        elif kind == 2:
            bad = image_moments(<const float*>image.data, w, h, binary, m)
        else:
            bad = image_moments(<const double*>image.data, w, h, binary, m)
    checked(bad)
    return [m[i] for i in range(10)]
