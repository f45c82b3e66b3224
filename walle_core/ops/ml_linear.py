"""Linear models and support vector machines (domain ai.onnx.ml), with the transforms of scores they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.rules import require, rule, text
from walle_core.ops.strings import objects
from walle_core.types import DTYPES, TensorSpec, float32

POST = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def post_transform(scores: Any, kind: int | str | bytes) -> Any:
    """Scores [rows, n] after a transform, by name or position in `POST`. Raises ValueError for another one."""
    name = (
        POST[kind]
        if isinstance(kind, int) and 0 <= kind < len(POST)
        else str(kind)
        if isinstance(kind, int)
        else text(kind)
    )
    require(name in POST, f"post_transform {name!r} must be one of {', '.join(POST)}")
    with np.errstate(all="ignore"):
        if name == "LOGISTIC":
            return 0.5 * (1 + np.tanh(0.5 * scores))
        if name in ("SOFTMAX", "SOFTMAX_ZERO"):
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            powers = np.where(scores == 0, 0, powers) if name == "SOFTMAX_ZERO" else powers
            total = powers.sum(axis=1, keepdims=True)
            return powers / np.where(total == 0, 1, total)
        if name == "PROBIT":
            from statistics import NormalDist  # here: brings decimal with it

            normal = NormalDist()
            flat = [
                normal.inv_cdf(v) if 0 < v < 1 else (v - 0.5) * float("inf") for v in scores.ravel().tolist()
            ]
            return np.array(flat, scores.dtype).reshape(scores.shape)
    return scores


def labels(strings: Sequence[Any] | None, numbers: Sequence[int] | None) -> Any:
    """Class labels as an array that indices select from: str objects or int64. Raises ValueError without any."""
    require(bool(strings) or bool(numbers), "class labels are missing")
    return objects([text(s) for s in strings], (len(strings),)) if strings else np.array(numbers, np.int64)


def rows(x: Any) -> Any:
    """X as float32 (float64 stays) of shape [rows, features]."""
    x = x if x.ndim == 2 else x.reshape(1, -1)
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _row_count(ctx: OpContext) -> tuple[int, int]:
    shape = ctx.shape(0)
    require(len(shape) in (1, 2), f"X must be [features] or [rows, features], not {shape}")
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def _regression(
    coefficients: Sequence[float], intercepts: Sequence[float] | None, targets: int
) -> tuple[int, list[float]]:
    """Features per target, and one intercept per target."""
    require(
        targets > 0 and len(coefficients) % targets == 0,
        f"{len(coefficients)} coefficients for {targets} targets",
    )
    offsets = list(intercepts or [0.0] * targets)
    require(len(offsets) == targets, f"{len(offsets)} intercepts for {targets} targets")
    return len(coefficients) // targets, offsets


@rule
def _infer_regressor(ctx: OpContext) -> Sequence[TensorSpec]:
    return [TensorSpec(float32, (_row_count(ctx)[0], int(ctx.attrs["targets"])))]


def _linear_regressor(
    x: Any, *, coefficients: Sequence[float], intercepts: Sequence[float] | None = None, post_transform: Any = "NONE",
    targets: int = 1,
) -> Any:  # fmt: skip
    features, offsets = _regression(coefficients, intercepts, targets)
    weight = np.array(coefficients, np.float32).reshape(targets, features)
    return _apply(rows(x).astype(np.float32) @ weight.T + np.array(offsets, np.float32), post_transform)


def _apply(scores: Any, kind: Any) -> Any:
    return post_transform(scores, kind).astype(np.float32)


@composite(
    "ai.onnx.ml.LinearRegressor", "ml", reference=_linear_regressor, infer=_infer_regressor, ulp=32, domain=(-1, 1),
    samples=(
        Sample(((4, 3),), {"coefficients": (0.5, -1.0, 0.25)}),
        Sample(((4, 2),), {"coefficients": (0.5, -1.0, 0.25, 2.0), "intercepts": (1.0, -1.0), "targets": 2}),
        Sample(((4, 1),), {"coefficients": (0.5, -1.0), "targets": 2, "post_transform": "SOFTMAX"}),
        Sample(((4, 1),), {"coefficients": (0.5,), "post_transform": "LOGISTIC"}),
    ),
)  # fmt: skip
def linear_regressor(
    g: Any, x: str, *, coefficients: Sequence[float], intercepts: Sequence[float] | None = None,
    post_transform: Any = "NONE", targets: int = 1,
) -> Any:  # fmt: skip
    """Products with the coefficients of each target, plus intercepts."""
    features, offsets = _regression(coefficients, intercepts, targets)
    x = g.Cast(reshape(g, x, -1, g.shape(x)[-1]), to=1)
    weight = reshape(g, g.const(list(coefficients)), targets, features)
    y = g.Add(g.MatMul(x, g.Transpose(weight, perm=(1, 0))), g.const(offsets))
    match text(post_transform):
        case "NONE":
            return y
        case "LOGISTIC":
            return g.Sigmoid(y)
        case "SOFTMAX":
            return g.Softmax(y, axis=1)
        case "SOFTMAX_ZERO":
            top = g.ReduceMax(y, g.const([1], "int64"), keepdims=1)
            powers = g.Where(g.Equal(y, g.const(0.0)), g.const(0.0), g.Exp(g.Sub(y, top)))
            total = g.ReduceSum(powers, g.const([1], "int64"), keepdims=1)
            return g.Div(powers, g.Where(g.Equal(total, g.const(0.0)), g.const(1.0), total))
    raise ValueError(f"post_transform {post_transform!r} cannot be lowered; use one of {', '.join(POST[:4])}")


@rule
def _infer_classifier(ctx: OpContext) -> Sequence[TensorSpec]:
    count, _ = _row_count(ctx)
    names = ctx.attrs["classlabels_strings"]
    given = names or ctx.attrs["classlabels_ints"]
    require(bool(given), "class labels are missing")
    return [
        TensorSpec(DTYPES["string" if names else "int64"], (count,)),
        TensorSpec(float32, (count, len(given))),
    ]


@atomic("ai.onnx.ml.LinearClassifier", "ml", infer=_infer_classifier)
def linear_classifier(
    x: Any, *, classlabels_ints: Sequence[int] | None = None, classlabels_strings: Sequence[str] | None = None,
    coefficients: Sequence[float], intercepts: Sequence[float] | None = None, multi_class: int = 0,
    post_transform: Any = "NONE",
) -> Any:  # fmt: skip
    """Class with the largest linear score, and the scores; one set of coefficients for two classes gives (-s, s)."""
    names, x = labels(classlabels_strings, classlabels_ints), rows(x).astype(np.float32)
    require(
        x.shape[1] > 0 and len(coefficients) % x.shape[1] == 0,
        f"{len(coefficients)} coefficients for {x.shape[1]} features",
    )
    weight = np.array(coefficients, np.float32).reshape(-1, x.shape[1])
    scores = x @ weight.T + np.array(intercepts or [0.0] * len(weight), np.float32)
    if len(weight) == 1 and len(names) == 2:
        logistic = text(post_transform) == "LOGISTIC"
        chosen = (scores[:, 0] > 0).astype(int)
        if logistic:
            p = _apply(scores, "LOGISTIC")
            return names[chosen], np.concatenate([1 - p, p], 1)
        scores = np.concatenate([-scores, scores], 1)
    else:
        require(len(weight) == len(names), f"{len(weight)} sets of coefficients for {len(names)} classes")
        chosen = scores.argmax(axis=1)
    return names[chosen], _apply(scores, post_transform)


def kernel(x: Any, y: Any, kind: str | bytes, parameters: Sequence[float] | None) -> Any:
    """Kernel of every row of x with every row of y; parameters are (gamma, coef0, degree)."""
    gamma, offset, degree = parameters or (0.0, 0.0, 0.0)
    match text(kind):
        case "LINEAR":
            return x @ y.T
        case "POLY":
            return (gamma * (x @ y.T) + offset) ** degree
        case "SIGMOID":
            return np.tanh(gamma * (x @ y.T) + offset)
        case "RBF":
            return np.exp(-gamma * ((x[:, None] - y[None]) ** 2).sum(-1))
    raise ValueError(f"kernel_type {kind!r} must be LINEAR, POLY, RBF or SIGMOID")


@rule
def _infer_svm(ctx: OpContext) -> Sequence[TensorSpec]:
    return [TensorSpec(float32, (_row_count(ctx)[0], 1))]


@atomic("ai.onnx.ml.SVMRegressor", "ml", infer=_infer_svm)
def svm_regressor(
    x: Any, *, coefficients: Sequence[float] = (), kernel_params: Sequence[float] | None = None,
    kernel_type: Any = "LINEAR", n_supports: int = 0, one_class: int = 0, post_transform: Any = "NONE",
    rho: Sequence[float] = (0.0,), support_vectors: Sequence[float] = (),
) -> Any:  # fmt: skip
    """Regression by kernels with support vectors, or the side (1, -1) of a one-class machine."""
    x = rows(x).astype(np.float64)
    weight = np.array(coefficients, np.float64)
    if n_supports:
        vectors = np.array(support_vectors, np.float64).reshape(n_supports, -1)
        y = kernel(x, vectors, kernel_type, kernel_params) @ weight + rho[0]
    else:
        y = (
            kernel(x, weight.reshape(1, -1), "LINEAR" if n_supports == 0 else kernel_type, kernel_params)[
                :, 0
            ]
            + rho[0]
        )
    y = np.where(y > 0, 1.0, -1.0) if one_class else y
    return _apply(y[:, None], post_transform)
