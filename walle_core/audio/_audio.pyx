# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: subinterpreters_compatible=own_gil, freethreading_compatible=True
# distutils: language = c++
"""Thin wrappers of walle/audio/*.hpp. They take Tensors that the Python files beside have checked."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from walle_core._native.tensor cimport Tensor, checked

from walle_core._native.tensor import Tensor as TensorType, stop_place

cdef extern from "walle/stop.hpp" nogil:
    void walle_stop_connect(uint64_t function)

cdef extern from "walle/audio/spectrum.hpp" namespace "walle::audio" nogil:
    cdef cppclass Bin:
        pass
    void c_from_pcm "walle::audio::from_pcm"(const uint8_t*, int64_t, int, float*)
    void c_to_pcm16 "walle::audio::to_pcm16"(const float*, int64_t, uint8_t*)

cdef extern from *:
    """
    WALLE_GUARDED(guarded_stft, walle::audio::stft)
    WALLE_GUARDED(guarded_istft, walle::audio::istft)
    WALLE_GUARDED(guarded_magnitudes, walle::audio::magnitudes)
    WALLE_GUARDED(guarded_product, walle::audio::product)
    WALLE_GUARDED(guarded_logarithms, walle::audio::logarithms)
    WALLE_GUARDED(guarded_resample, walle::audio::resample)
    """
    int64_t c_stft "guarded_stft"(const float*, int64_t, const float*, int64_t, int64_t, int64_t, int64_t, int, Bin*) nogil
    int64_t c_istft "guarded_istft"(const Bin*, const float*, int64_t, int64_t, int64_t, float*) nogil
    int64_t c_magnitudes "guarded_magnitudes"(const Bin*, int64_t, double, float*) nogil
    int64_t c_product "guarded_product"(const float*, const float*, int64_t, int64_t, int64_t, float*) nogil
    int64_t c_logarithms "guarded_logarithms"(const float*, int64_t, double, double, double, double, double, float*) nogil
    int64_t c_resample "guarded_resample"(const float*, int64_t, int64_t, int64_t, int64_t, float*) nogil

walle_stop_connect(stop_place())


def stft(Tensor y, Tensor window, int64_t hop, int64_t start, int64_t frames, int padding):
    cdef int64_t n_fft = window.count
    cdef Tensor out = TensorType((n_fft // 2 + 1, frames), "complex64", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_stft(<float*>y.data, y.count, <float*>window.data, n_fft, hop, start, frames, padding, <Bin*>out.data)
    checked(bad)
    return out


def istft(Tensor spectrum, Tensor window, int64_t hop):
    cdef int64_t n_fft = window.count, frames = spectrum.sizes[1]
    cdef Tensor out = TensorType(((frames - 1) * hop + n_fft,), "float32", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_istft(<Bin*>spectrum.data, <float*>window.data, n_fft, hop, frames, <float*>out.data)
    checked(bad)
    return out


def magnitudes(Tensor spectrum, double power):
    cdef Tensor out = TensorType(spectrum.shape, "float32", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_magnitudes(<Bin*>spectrum.data, spectrum.count, power, <float*>out.data)
    checked(bad)
    return out


def product(Tensor a, Tensor b):
    cdef Tensor out = TensorType((a.sizes[0], b.sizes[1]), "float32", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_product(<float*>a.data, <float*>b.data, a.sizes[0], a.sizes[1], b.sizes[1], <float*>out.data)
    checked(bad)
    return out


def logarithms(Tensor x, double scale, double least, double offset, double shift, double range):
    cdef Tensor out = TensorType(x.shape, "float32", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_logarithms(<float*>x.data, x.count, scale, least, offset, shift, range, <float*>out.data)
    checked(bad)
    return out


def from_pcm(Tensor data, int width):
    cdef Tensor out = TensorType((data.count // width,), "float32", zero=False)
    with nogil:
        c_from_pcm(<uint8_t*>data.data, out.count, width, <float*>out.data)
    return out


def to_pcm16(Tensor samples):
    cdef Tensor out = TensorType((2 * samples.count,), "uint8", zero=False)
    with nogil:
        c_to_pcm16(<float*>samples.data, samples.count, <uint8_t*>out.data)
    return out


def resample(Tensor y, int64_t up, int64_t down):
    cdef Tensor out = TensorType(((y.count * up + down - 1) // down,), "float32", zero=False)
    cdef int64_t bad
    with nogil:
        bad = c_resample(<float*>y.data, y.count, up, down, out.count, <float*>out.data)
    checked(bad)
    return out
