# Histograms, linear algebra, pose. Part of _structure.pyx.

def count(axes, Tensor mask, Tensor out):
    """Adds to `out` (float32). An axis is (image, channel, bins, low, high); all images have one size and dtype."""
    cdef vector[HistogramAxis] found
    cdef HistogramAxis axis
    cdef Tensor image = None
    for image, channel, bins, low, high in axes:
        axis.stride = image.sizes[2] if image.rank == 3 else 1
        axis.data = <char*>image.data + <Py_ssize_t>channel * image.itemsize
        axis.bins, axis.low, axis.high = bins, low, high
        found.push_back(axis)
    cdef int64_t pixels = image.sizes[0] * image.sizes[1]
    cdef const uint8_t* where = <const uint8_t*>mask.data if mask is not None else NULL
    cdef int kind = ("uint8", "uint16", "float32").index(image.kind)
    cdef HistogramAxis* first = found.data()
    cdef int rank = <int>found.size()
    cdef float* to = <float*>out.data
    with nogil:
        if kind == 0:
            count_values[uint8_t](first, rank, pixels, where, to)
        elif kind == 1:
            count_values[uint16_t](first, rank, pixels, where, to)
        else:
            count_values[float](first, rank, pixels, where, to)


def equalize(Tensor image):
    cdef Tensor out = TensorType(image.shape, "uint8", zero=False)
    with nogil:
        c_equalize(<const uint8_t*>image.data, image.count, <uint8_t*>out.data)
    return out


def solve(Tensor a, Tensor b, int method):
    """(whether a solution was found, x); a and b are float64 and are overwritten."""
    cdef int rows = a.sizes[0], n = a.sizes[1], columns = b.sizes[1]
    cdef Tensor x = TensorType((n, columns), "float64")
    cdef int64_t done
    with nogil:
        done = c_solve(<double*>a.data, rows, n, <double*>b.data, columns, method, <double*>x.data)
    return bool(checked(done)), x


def fit_line(Tensor points, int kind, double parameter, double reps, double aeps):
    """float64 points N x size; the direction and a point as a list."""
    cdef double out[6]
    cdef int64_t bad
    with nogil:
        bad = c_fit_line(<const double*>points.data, points.sizes[0], points.sizes[1], kind, parameter, reps, aeps, out)
    checked(bad)
    return [out[i] for i in range(2 * points.sizes[1])]


def rodrigues(Tensor source):
    """(3 x 3, 3 x 9) for a vector of 3, (3 x 1, 9 x 3) for a matrix; float64."""
    cdef bint forward = source.count == 3
    cdef Tensor out = TensorType((3, 3) if forward else (3, 1), "float64")
    cdef Tensor jacobian = TensorType((3, 9) if forward else (9, 3), "float64")
    if forward:
        rotation(<double*>source.data, <double*>out.data, <double*>jacobian.data)
    else:
        rotation_vector(<double*>source.data, <double*>out.data, <double*>jacobian.data)
    return out, jacobian


def solve_pnp(Tensor object_points, Tensor image_points, camera, distortion, Tensor pose, bint guess):
    """Writes the rotation vector and translation to `pose` (6 x float64); False if there are too few points."""
    cdef Camera c
    cdef int i
    cdef int64_t done
    c.fx, c.fy, c.cx, c.cy = camera
    for i in range(8):
        c.k[i] = distortion[i]
    with nogil:
        done = c_solve_pnp(<double*>object_points.data, <double*>image_points.data, object_points.count // 3, c, guess,
                           <double*>pose.data)
    return bool(checked(done))
