"""Losses over class scores: negative log-likelihood and softmax cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import widened
from walle_core.ops.rules import check_kinds, check_vector, input_operations, rule, text
from walle_core.ops.softmax import log_softmax
from walle_core.types import TensorSpec

_REDUCTIONS = ("none", "sum", "mean")


@rule
def _infer(ctx: OpContext) -> Sequence[TensorSpec]:
    check_kinds(ctx, "f", 0, 2)
    check_kinds(ctx, "i", 1)
    scores, target = ctx.shape(0), ctx.shape(1)
    if len(scores) < 2 or target != (scores[0], *scores[2:]):
        raise ValueError(f"labels {target} must have the shape of the scores {scores} without axis 1")
    check_vector(ctx, 2, scores[1], "weight")
    if text(ctx.attrs["reduction"]) not in _REDUCTIONS:
        raise ValueError(f"reduction {ctx.attrs['reduction']!r} must be one of {', '.join(_REDUCTIONS)}")
    shape = target if text(ctx.attrs["reduction"]) == "none" else ()
    return [TensorSpec(ctx.dtype(0), shape), ctx.spec(0)][: 2 if ctx.op == "SoftmaxCrossEntropyLoss" else 1]


@widened
def nll_loss(
    x: Any, target: Any, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    """-x[target] * weight[target], zero where ignored, then none, sum or (weighted) mean."""
    ignored = np.zeros(target.shape, bool) if ignore_index is None else target == ignore_index
    safe = np.where(ignored, 0, target).astype(np.int64)
    each = np.ones(target.shape, x.dtype) if weight is None else weight[safe]
    each = np.where(ignored, 0, each).astype(x.dtype)
    loss = -np.take_along_axis(x, safe[:, None], 1)[:, 0] * each
    loss = np.where(ignored, 0, loss).astype(x.dtype)
    if text(reduction) == "none":
        return loss
    return np.sum(loss) if text(reduction) == "sum" else np.sum(loss) / np.sum(each)


_LABELS = [[1, 0], [3, 2]]
_TYPES = ("float32", "int64", "float32")
_SAMPLES = (
    Sample(((3, 5), [1, 0, 4]), {"reduction": "mean"}, _TYPES),
    Sample(((2, 4, 2), _LABELS), {"reduction": "none"}, _TYPES),
    Sample(((2, 4, 2), _LABELS, (4,)), {"reduction": "sum"}, _TYPES),
    Sample(((2, 4, 2), _LABELS, [0.5, 1.0, 2.0, 0.25]), {"ignore_index": 2}, _TYPES),
    Sample(((2, 4, 2), [[1, -1], [3, 2]]), {"ignore_index": -1}, _TYPES),
)


@composite(
    "NegativeLogLikelihoodLoss", "loss", reference=nll_loss, infer=_infer, flops=input_operations(2), ulp=16,
    samples=_SAMPLES,
)  # fmt: skip
def nll_graph(
    g: Any,
    x: str,
    target: str,
    weight: str | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-probability of the target class, weighted per class."""
    labels, safe, ignored = g.shape(target), target, None
    if ignore_index is not None:
        ignored = g.Equal(target, g.const(ignore_index, like=target))
        safe = g.Where(ignored, g.const(0, like=target), target)
    picked = g.GatherElements(x, reshape(g, safe, labels[0], 1, *labels[1:]), axis=1)
    loss = g.Neg(reshape(g, picked, *labels))
    zero = g.const(0, like=x)
    each = g.Gather(weight, safe) if weight else g.Expand(g.const(1, like=x), g.const(list(labels), "int64"))
    loss = g.Mul(loss, each) if weight else loss
    if ignored:
        each, loss = g.Where(ignored, zero, each), g.Where(ignored, zero, loss)
    if text(reduction) == "none":
        return loss
    total = g.ReduceSum(loss, keepdims=0)
    return total if text(reduction) == "sum" else g.Div(total, g.ReduceSum(each, keepdims=0))


@widened
def _cross_entropy(
    scores: Any, labels: Any, weights: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    logs = log_softmax(scores, axis=1)
    return nll_loss(logs, labels, weights, ignore_index=ignore_index, reduction=reduction), logs


@composite(
    "SoftmaxCrossEntropyLoss", "loss", reference=_cross_entropy, infer=_infer, flops=input_operations(14), ulp=16,
    samples=_SAMPLES,
)  # fmt: skip
def cross_entropy_graph(
    g: Any,
    scores: str,
    labels: str,
    weights: str | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood of the softmax over the class axis; also the log-probabilities."""
    logs = g.LogSoftmax(scores, axis=1)
    loss = g.NegativeLogLikelihoodLoss(logs, labels, weights, ignore_index=ignore_index, reduction=reduction)
    return loss, logs
