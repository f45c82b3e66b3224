"""The matrices of warps: from points, angles and each other. All computed as float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv.images import floats, given, look, matrix_of
from walle_core.errors import InputError

__all__ = [
    "DECOMP_LU",
    "DECOMP_SVD",
    "getAffineTransform",
    "getPerspectiveTransform",
    "getRotationMatrix2D",
    "invertAffineTransform",
]

DECOMP_LU, DECOMP_SVD = 0, 1


def getRotationMatrix2D(center: Any, angle: float, scale: float) -> Tensor:
    """The map (2 × 3, float64) that turns by `angle` degrees against the clock around `center` and scales."""
    turn = math.radians(angle)
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    x, y = float(center[0]), float(center[1])
    return Tensor.of([[a, b, (1 - a) * x - b * y], [-b, a, b * x + (1 - a) * y]], "float64")


def getAffineTransform(src: Any, dst: Any) -> Tensor:
    """The affine map (2 × 3, float64) that takes three points (3 × 2) to three others.

    Raises:
        InputError: not three points each. Points on one line give zeros, as in OpenCV.
    """
    a, b = _points(src, 3, "src"), _points(dst, 3, "dst")
    system = [[x, y, 1.0] for x, y in a]
    rows = [solved(system, [p[k] for p in b]) for k in range(2)]
    return Tensor.of([row or [0.0] * 3 for row in rows], "float64")


def getPerspectiveTransform(src: Any, dst: Any, solveMethod: int = DECOMP_LU) -> Tensor:
    """The perspective map (3 × 3, float64) that takes four points (4 × 2) to four others.

    Raises:
        InputError: not four points each.
    """
    a, b = _points(src, 4, "src"), _points(dst, 4, "dst")
    system, right = [], []
    for k in range(2):
        for (x, y), p in zip(a, b, strict=True):
            system.append(
                [
                    *([x, y, 1.0, 0.0, 0.0, 0.0] if k == 0 else [0.0, 0.0, 0.0, x, y, 1.0]),
                    -x * p[k],
                    -y * p[k],
                ]
            )
            right.append(p[k])
    found = [*(solved(system, right) or [0.0] * 8), 1.0]
    return Tensor.of([found[:3], found[3:6], found[6:]], "float64")


def invertAffineTransform(M: Any, iM: Any = None) -> Tensor:
    """The inverse (2 × 3) of an affine map, of its dtype; zeros where there is none."""
    kind = look(M, "M", ("float32", "float64"))[1]
    found = inverse_affine(matrix_of(M, 2, 3, "M"))
    return given(Tensor.of([found[:3], found[3:]], kind), iM)


def _points(value: Any, count: int, name: str) -> list[list[float]]:
    nested = floats(value)
    if len(nested) == count and all(isinstance(p, list) and len(p) == 1 for p in nested):
        nested = [p[0] for p in nested]
    if len(nested) != count or any(not isinstance(p, list) or len(p) != 2 for p in nested):
        raise InputError(f"{name} must be {count} points (x, y)")
    return [[float(v) for v in p] for p in nested]


def inverse_affine(m: Sequence[float]) -> list[float]:
    """The inverse of an affine map, row by row; zeros where there is none."""
    d = m[0] * m[4] - m[1] * m[3]
    d = 1 / d if d else 0.0
    a, b, c, e = m[4] * d, -m[1] * d, -m[3] * d, m[0] * d
    return [a, b, -a * m[2] - b * m[5], c, e, -c * m[2] - e * m[5]]


def inverse(m: Sequence[float]) -> list[float]:
    """The inverse of a 3 × 3 matrix, row by row; zeros where there is none."""
    a, b, c, d, e, f, g, h, i = m
    adjoint = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
               d * h - e * g, b * g - a * h, a * e - b * d]  # fmt: skip
    determinant = a * adjoint[0] + b * adjoint[3] + c * adjoint[6]
    return [v / determinant if determinant else 0.0 for v in adjoint]


def solved(system: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """X of system · x = right by elimination with the greatest pivots; None if there is no one solution."""
    n = len(system)
    rows = [[*map(float, row), float(v)] for row, v in zip(system, right, strict=True)]
    for k in range(n):
        best = max(range(k, n), key=lambda r: abs(rows[r][k]))
        if abs(rows[best][k]) < 1e-12:
            return None
        rows[k], rows[best] = rows[best], rows[k]
        for r in range(k + 1, n):
            factor = rows[r][k] / rows[k][k]
            rows[r] = [v - factor * w for v, w in zip(rows[r], rows[k], strict=True)]
    found = [0.0] * n
    for k in range(n - 1, -1, -1):
        found[k] = (rows[k][n] - sum(rows[k][j] * found[j] for j in range(k + 1, n))) / rows[k][k]
    return found
