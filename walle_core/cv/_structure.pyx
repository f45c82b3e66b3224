# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Thin wrappers of walle/cv/*.hpp. They take Tensors whose dtype and shape the Python files beside have checked."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from walle_core._native.tensor cimport Tensor, checked

from walle_core._native.tensor import Tensor as TensorType, stop_place
from walle_core.errors import InputError

cdef extern from "walle/cv/shapes.hpp" namespace "walle::cv" nogil:
    cdef cppclass Spot:
        int64_t x, y
    cdef cppclass Canvas:
        uint8_t* data
        int64_t width, height
        int channels, pixel
        cbool bytes
        uint8_t color[32]
    cdef cppclass Edge:
        pass
    void pixel_circle(const Canvas&, int64_t, int64_t, int64_t, cbool)
    cbool c_clip "walle::cv::clip"(int64_t, int64_t, Spot&, Spot&)

cdef extern from "walle/cv/contours.hpp" namespace "walle::cv" nogil:
    cdef cppclass Border:
        int64_t begin, end
    cdef cppclass Borders:
        vector[Border] found
        vector[int32_t] points
        vector[int] order
    void c_hierarchy "walle::cv::hierarchy"(const Borders&, int32_t*)

cdef extern from "walle/cv/components.hpp":
    pass

cdef extern from "walle/cv/polygon.hpp" namespace "walle::cv" nogil:
    cdef cppclass P2[T]:
        T x, y
    cbool is_convex[T](const P2[T]*, int)
    void least_rectangle(const P2[double]*, int, double*)
    double signed_area[T](const P2[T]*, int)
    double curve_length[T](const P2[T]*, int, cbool)
    double point_in_polygon[T](const P2[T]*, int, double, double, cbool)
    void polygon_moments[T](const P2[T]*, int, double*)

cdef extern from "walle/cv/histogram.hpp" namespace "walle::cv" nogil:
    cdef cppclass HistogramAxis:
        const void* data
        int64_t stride, bins
        double low, high
    void count_values[T](const HistogramAxis*, int, int64_t, const uint8_t*, float*)
    void c_equalize "walle::cv::equalize"(const uint8_t*, int64_t, uint8_t*)

cdef extern from "walle/cv/pose.hpp" namespace "walle::cv" nogil:
    cdef cppclass Camera:
        double fx, fy, cx, cy
        double k[8]
    void rotation(const double*, double*, double*)
    void rotation_vector(const double*, double*, double*)

# What may last or take memory, through walle/guarded.hpp.
cdef extern from *:
    """
    #include "walle/guarded.hpp"
    namespace walle { namespace cv { namespace {
    template <class T> inline void hull_of(const P2<T>* p, int n, bool clockwise, bool points, std::vector<int>& out) {
      out = convex_hull(p, n, clockwise, points);
    }
    template <class T> inline void simplified_of(const P2<T>* p, int n, double epsilon, bool closed, std::vector<P2<T>>& out) {
      out = simplified(p, n, epsilon, closed);
    }
    }}}
    WALLE_GUARDED(guarded_fill_convex, walle::cv::fill_convex)
    WALLE_GUARDED(guarded_collect_edges, walle::cv::collect_edges)
    WALLE_GUARDED(guarded_thick_line, walle::cv::thick_line)
    WALLE_GUARDED(guarded_polyline, walle::cv::polyline)
    WALLE_GUARDED(guarded_ellipse, walle::cv::ellipse)
    WALLE_GUARDED(guarded_fill_edges, walle::cv::fill_edges)
    WALLE_GUARDED(guarded_borders, walle::cv::find_borders)
    WALLE_GUARDED(guarded_components, walle::cv::label_components)
    WALLE_GUARDED(guarded_stats, walle::cv::component_stats)
    WALLE_GUARDED(guarded_circle, walle::cv::least_circle)
    WALLE_GUARDED(guarded_hull, walle::cv::hull_of)
    WALLE_GUARDED(guarded_simplified, walle::cv::simplified_of)
    WALLE_GUARDED(guarded_moments, walle::cv::image_moments)
    WALLE_GUARDED(guarded_pnp, walle::cv::solve_pnp)
    WALLE_GUARDED(guarded_solve, walle::cv::solve)
    WALLE_GUARDED(guarded_fit_line, walle::cv::fit_line)
    """
    int64_t fill_convex "guarded_fill_convex"(const Canvas&, const Spot*, int, int line, int shift) nogil
    int64_t collect_edges "guarded_collect_edges"(const Canvas&, const Spot*, int, vector[Edge]&, int line, int shift, Spot offset) nogil
    int64_t thick_line "guarded_thick_line"(const Canvas&, Spot, Spot, int thickness, int line, int caps, int shift) nogil
    int64_t c_polyline "guarded_polyline"(const Canvas&, const Spot*, int, cbool, int thickness, int line, int shift) nogil
    int64_t c_ellipse "guarded_ellipse"(const Canvas&, Spot, int64_t, int64_t, int, int, int, int thickness, int line) nogil
    int64_t fill_edges "guarded_fill_edges"(const Canvas&, vector[Edge]&) nogil
    int64_t find_borders "guarded_borders"(const uint8_t*, int64_t, int64_t, int, cbool, int32_t, int32_t, Borders*) nogil
    int64_t label_components "guarded_components"(const uint8_t*, int64_t, int64_t, int, int32_t*) nogil
    int64_t c_stats "guarded_stats"(const int32_t*, int64_t, int64_t, int32_t, int32_t*, double*) nogil
    int64_t least_circle "guarded_circle"(vector[P2[double]]&, double*) nogil
    int64_t c_solve_pnp "guarded_pnp"(const double*, const double*, int, const Camera&, cbool, double*) nogil
    int64_t c_solve "guarded_solve"(double*, int, int, double*, int, int, double*) nogil
    int64_t c_fit_line "guarded_fit_line"(const double*, int, int, int, double, double, double, double*) nogil
    int64_t convex_hull "guarded_hull"(const P2[int32_t]*, int, cbool, cbool, vector[int]&) nogil
    int64_t convex_hull "guarded_hull"(const P2[float]*, int, cbool, cbool, vector[int]&) nogil
    int64_t simplified "guarded_simplified"(const P2[int32_t]*, int, double, cbool, vector[P2[int32_t]]&) nogil
    int64_t simplified "guarded_simplified"(const P2[float]*, int, double, cbool, vector[P2[float]]&) nogil
    int64_t image_moments "guarded_moments"(const uint8_t*, int64_t, int64_t, cbool, double*) nogil
    int64_t image_moments "guarded_moments"(const uint16_t*, int64_t, int64_t, cbool, double*) nogil
    int64_t image_moments "guarded_moments"(const float*, int64_t, int64_t, cbool, double*) nogil
    int64_t image_moments "guarded_moments"(const double*, int64_t, int64_t, cbool, double*) nogil

cdef extern from "walle/stop.hpp" nogil:
    void walle_stop_connect(uint64_t function)

walle_stop_connect(stop_place())


# -- drawing ---------------------------------------------------------------------------------------------------------

cdef Canvas canvas(Tensor image, bytes color) except *:
    cdef Canvas c
    if image.readonly:
        raise InputError("the image is read-only; draw on a copy")
    c.data = <uint8_t*>image.data
    c.height, c.width = image.sizes[0], image.sizes[1]
    c.channels = image.sizes[2] if image.rank == 3 else 1
    c.pixel = c.channels * image.itemsize
    c.bytes = image.kind == "uint8"
    memcpy(c.color, <const char*>color, min(len(color), 32))
    return c


cdef vector[Spot] spots(Tensor points) except *:
    cdef vector[Spot] out
    cdef const int32_t* p = <const int32_t*>points.data
    cdef Py_ssize_t i
    out.resize(points.count // 2)
    for i in range(points.count // 2):
        out[i].x, out[i].y = p[2 * i], p[2 * i + 1]
    return out


cdef Spot spot(object pair) except *:
    cdef Spot s
    s.x, s.y = pair
    return s


def draw_line(Tensor image, bytes color, a, b, int thickness, int line, int shift):
    cdef Canvas c = canvas(image, color)
    cdef Spot start = spot(a), end = spot(b)
    cdef int64_t bad
    with nogil:
        bad = thick_line(c, start, end, thickness, line, 3, shift)
    checked(bad)


def draw_polyline(Tensor image, bytes color, Tensor points, bint closed, int thickness, int line, int shift):
    cdef Canvas c = canvas(image, color)
    cdef vector[Spot] v = spots(points)
    cdef int64_t bad
    with nogil:
        bad = c_polyline(c, v.data(), <int>v.size(), closed, thickness, line, shift)
    checked(bad)


def draw_circle(Tensor image, bytes color, int64_t x, int64_t y, int64_t radius, bint fill):
    cdef Canvas c = canvas(image, color)
    with nogil:
        pixel_circle(c, x, y, radius, fill)


def draw_ellipse(Tensor image, bytes color, centre, int64_t width, int64_t height, int angle, int start, int end,
                 int thickness, int line):
    """Centre and half axes have 16 fractional bits; angles are whole degrees."""
    cdef Canvas c = canvas(image, color)
    cdef Spot s = spot(centre)
    cdef int64_t bad
    with nogil:
        bad = c_ellipse(c, s, width, height, angle, start, end, thickness, line)
    checked(bad)


def draw_convex(Tensor image, bytes color, Tensor points, int line, int shift):
    cdef Canvas c = canvas(image, color)
    cdef vector[Spot] v = spots(points)
    cdef int64_t bad
    if v.size():
        with nogil:
            bad = fill_convex(c, v.data(), <int>v.size(), line, shift)
        checked(bad)


def draw_polygons(Tensor image, bytes color, polygons, int line, int shift, offset):
    cdef Canvas c = canvas(image, color)
    cdef Spot by = spot(offset)
    cdef vector[Edge] edges
    cdef vector[Spot] v
    for points in polygons:
        v = spots(points)
        checked(collect_edges(c, v.data(), <int>v.size(), edges, line, shift, by))
    cdef int64_t bad
    with nogil:
        bad = fill_edges(c, edges)
    checked(bad)


def clip_line(int64_t width, int64_t height, a, b):
    """(inside, a, b) with the end points moved onto the border."""
    cdef Spot start = spot(a), end = spot(b)
    inside = c_clip(width, height, start, end)
    return bool(inside), (start.x, start.y), (end.x, end.y)


# -- contours and components -----------------------------------------------------------------------------------------

def borders(Tensor image, int mode, bint all_points, int32_t dx, int32_t dy):
    """(contours as int32 Tensors N x 1 x 2, hierarchy as int32 Tensor 1 x contours x 4 or None)."""
    cdef Borders b
    cdef int64_t bad
    with nogil:
        bad = find_borders(<const uint8_t*>image.data, image.sizes[1], image.sizes[0], mode, all_points, dx, dy, &b)
    checked(bad)
    contours = []
    cdef Tensor one
    cdef size_t i
    cdef int64_t begin, end
    for i in range(b.order.size()):
        begin, end = b.found[b.order[i]].begin, b.found[b.order[i]].end
        one = TensorType(((end - begin) // 2, 1, 2), "int32", zero=False)
        memcpy(one.data, b.points.data() + begin, (end - begin) * 4)
        contours.append(one)
    if not contours:
        return contours, None
    tree = TensorType((1, len(contours), 4), "int32", zero=False)
    c_hierarchy(b, <int32_t*>(<Tensor>tree).data)
    return contours, tree


def components(Tensor image, int connectivity):
    """(number of labels, labels as int32 Tensor)."""
    cdef Tensor labels = TensorType(image.shape, "int32", zero=False)
    cdef int64_t count
    with nogil:
        count = label_components(<const uint8_t*>image.data, image.sizes[1], image.sizes[0], connectivity,
                                 <int32_t*>labels.data)
    return checked(count), labels


def component_stats(Tensor labels, int32_t count):
    cdef Tensor stats = TensorType((count, 5), "int32", zero=False), means = TensorType((count, 2), "float64", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_stats(<const int32_t*>labels.data, labels.sizes[1], labels.sizes[0], count, <int32_t*>stats.data,
                      <double*>means.data)
    checked(bad)
    return stats, means


include "points.pxi"
include "pose.pxi"
