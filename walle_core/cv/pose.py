"""Linear systems, rotations as vectors, and the pose of known points in a picture (OpenCV's core and calib3d)."""

from __future__ import annotations

from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv import _structure as kernels
from walle_core.cv.points import as_numbers, wrapped
from walle_core.errors import InputError, UnsupportedError

__all__ = [
    "DECOMP_CHOLESKY",
    "DECOMP_EIG",
    "DECOMP_LU",
    "DECOMP_NORMAL",
    "DECOMP_QR",
    "DECOMP_SVD",
    "SOLVEPNP_ITERATIVE",
    "Rodrigues",
    "solve",
    "solvePnP",
]  # fmt: skip

DECOMP_LU, DECOMP_SVD, DECOMP_EIG, DECOMP_CHOLESKY, DECOMP_QR, DECOMP_NORMAL = 0, 1, 2, 3, 4, 16
SOLVEPNP_ITERATIVE = 0


def _dtype(value: Any) -> str:
    return (
        "float64"
        if isinstance(value, (list, tuple)) or wrapped(value, "src").dtype != "float32"
        else "float32"
    )


def solve(src1: Any, src2: Any, flags: int = DECOMP_LU) -> tuple[bool, Tensor]:
    """Solves src1 · x = src2, or minimises the distance of the two.

    Args:
        src1: M × N, float32 or float64.
        src2: M × K.
        flags: DECOMP_LU (M = N), DECOMP_CHOLESKY (symmetric, positive definite), DECOMP_EIG (symmetric), DECOMP_SVD or
            DECOMP_QR (M ≥ N); plus DECOMP_NORMAL for the normal equations.

    Returns:
        (False, zeros) if the matrix is singular, else (True, x), x of N × K.
    """
    a, b = as_numbers(src1, "src1"), as_numbers(src2, "src2")
    b = b.reshape(b.shape[0], 1) if b.ndim == 1 else b
    if a.ndim != 2 or b.ndim != 2 or not a.size or not b.size or a.shape[0] != b.shape[0]:
        raise InputError(f"src1 {a.shape} and src2 {b.shape} must be matrices with as many rows")
    method = flags & ~DECOMP_NORMAL
    if method not in (DECOMP_LU, DECOMP_SVD, DECOMP_EIG, DECOMP_CHOLESKY, DECOMP_QR):
        raise InputError(f"flags {flags} are not known; use a DECOMP_ constant")
    rows, columns = a.shape
    square = method in (DECOMP_LU, DECOMP_EIG, DECOMP_CHOLESKY) and not flags & DECOMP_NORMAL
    if rows < columns or (square and rows != columns):
        raise InputError(
            f"src1 is {rows} x {columns}; flags {flags} need {'as many' if square else 'at least as many'} rows as columns"
        )
    done, x = kernels.solve(a, b, flags)
    return done, Tensor.of(x, _dtype(src1))


def Rodrigues(src: Any) -> tuple[Tensor, Tensor]:
    """A rotation vector (3 numbers; its length is the angle) to a matrix 3 × 3, or a matrix to a vector 3 × 1.

    Returns:
        The result, and its derivatives: 3 × 9 by the components of the vector, or 9 × 3 by the entries of the matrix.
        The nearest rotation is taken for a matrix that is none.
    """
    source = as_numbers(src, "src")
    if source.size != 3 and source.shape != (3, 3):
        raise InputError(f"src has shape {source.shape}; it must be a vector of 3 or a matrix 3 x 3")
    out, jacobian = kernels.rodrigues(source)
    kind = _dtype(src)
    return Tensor.of(out, kind), Tensor.of(jacobian, kind)


def solvePnP(
    objectPoints: Any, imagePoints: Any, cameraMatrix: Any, distCoeffs: Any, rvec: Any = None, tvec: Any = None,
    useExtrinsicGuess: bool = False, flags: int = SOLVEPNP_ITERATIVE,
) -> tuple[bool, Tensor, Tensor]:  # fmt: skip
    """The pose of an object from points on it and where they are seen, by least squares of the reprojection error.

    Begins with the direct linear transformation (a homography for points in a plane), or with a guess, and refines
    by Levenberg and Marquardt.

    Args:
        objectPoints: N × 3.
        imagePoints: N × 2, in pixels. N ≥ 6, or 4 in a plane, or 3 with a guess.
        cameraMatrix: 3 × 3.
        distCoeffs: None, or k1 k2 p1 p2 [k3 [k4 k5 k6]].
        rvec, tvec: a first rotation vector and translation, with `useExtrinsicGuess`.
        useExtrinsicGuess: whether to begin with them.
        flags: SOLVEPNP_ITERATIVE.

    Returns:
        (True, rotation vector, translation), float64 3 × 1 each: they take points of the object into the camera's frame.

    Raises:
        InputError: too few points, other shapes.
        UnsupportedError: another method, or distortion with more coefficients.
    """
    if flags != SOLVEPNP_ITERATIVE:
        raise UnsupportedError(f"solvePnP flags {flags} are not there; use SOLVEPNP_ITERATIVE")
    there, seen = as_numbers(objectPoints, "objectPoints"), as_numbers(imagePoints, "imagePoints")
    count = there.size // 3
    if there.size != 3 * count or seen.size != 2 * count or count < 3:
        raise InputError(
            f"objectPoints {there.shape} and imagePoints {seen.shape} must be N x 3 and N x 2, N at least 3"
        )
    matrix = as_numbers(cameraMatrix, "cameraMatrix")
    if matrix.shape != (3, 3):
        raise InputError(f"cameraMatrix has shape {matrix.shape}; it must be 3 x 3")
    (fx, _, cx), (_, fy, cy), _ = matrix.tolist()
    bent = [] if distCoeffs is None else _flat(as_numbers(distCoeffs, "distCoeffs"))
    if len(bent) not in (0, 4, 5, 8):
        raise UnsupportedError(f"distCoeffs has {len(bent)} numbers; 4, 5 or 8 are taken")
    pose = Tensor((6,), "float64")
    if useExtrinsicGuess:
        guess = _flat(as_numbers(rvec, "rvec")) + _flat(as_numbers(tvec, "tvec"))
        if len(guess) != 6:
            raise InputError("rvec and tvec must be 3 numbers each to begin with")
        pose = Tensor.of(guess, "float64")
    done = kernels.solve_pnp(
        there, seen, (fx, fy, cx, cy), bent + [0.0] * (8 - len(bent)), pose, useExtrinsicGuess
    )
    if not done:
        raise InputError(f"{count} points do not tell the pose; give 6, 4 in a plane, or a guess")
    found = pose.tolist()
    return (
        True,
        Tensor.of([[v] for v in found[:3]], "float64"),
        Tensor.of([[v] for v in found[3:]], "float64"),
    )


def _flat(numbers: Tensor) -> list[float]:
    return list(numbers.reshape(numbers.size).tolist())
