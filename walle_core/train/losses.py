"""Losses: each appends the number to be made small to a graph, from what the model says and what it should have said."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from walle_core.errors import InputError
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype


class Loss(Protocol):
    """What a loss must offer."""

    def target(self, output: TensorSpec) -> TensorSpec:
        """The spec of the target that belongs to an output of the model."""

    def append(self, g: Any, output: str, target: str) -> str:
        """Appends nodes to a Builder; returns the name of a scalar."""


def _mean(g: Any, x: str) -> str:
    return str(g.ReduceMean(x, keepdims=0))


@attrs.frozen
class CrossEntropy:
    """Mean negative logarithm of the probability of the right class, which an integer names.

    Attributes:
        logits: True if the output holds scores [N, classes, ...], False if it holds probabilities (after a Softmax).
        smoothing: share of the target that is spread over all classes.
    """

    logits: bool = True
    smoothing: float = 0.0

    def target(self, output: TensorSpec) -> TensorSpec:
        """int64 [N, ...]. Raises InputError if the output has no axis of classes."""
        shape = output.sizes
        if len(shape) < 2:
            raise InputError(f"cross entropy needs an output [N, classes, ...], not {output}")
        return TensorSpec(as_dtype("int64"), (shape[0], *shape[2:]))

    def append(self, g: Any, output: str, target: str) -> str:
        """See `Loss`."""
        if self.logits:
            logs = g.LogSoftmax(output, axis=1)
        else:
            logs = g.Log(g.Max(output, g.const(1e-12, like=output)))
        loss = g.NegativeLogLikelihoodLoss(logs, target)
        if not self.smoothing:
            return str(loss)
        even = g.Neg(_mean(g, logs))
        parts = [
            g.Mul(v, g.const(s, like=v)) for v, s in ((loss, 1 - self.smoothing), (even, self.smoothing))
        ]
        return str(g.Add(*parts))


@attrs.frozen
class KLDivergence:
    """Kullback-Leibler divergence of the softmax of scores [N, classes] from target probabilities, mean over N.

    Attributes:
        temperature: divides the scores (distillation); the loss is multiplied by its square.
    """

    temperature: float = 1.0

    def target(self, output: TensorSpec) -> TensorSpec:
        """Probabilities in the output's shape."""
        return output

    def append(self, g: Any, output: str, target: str) -> str:
        """See `Loss`."""
        scores = g.Div(output, g.const(self.temperature, like=output))
        zero, one = g.const(0, like=target), g.const(1, like=target)
        own = g.Log(g.Where(g.Greater(target, zero), target, one))  # 0 * log(0) is 0
        total = g.ReduceSum(g.Mul(target, g.Sub(own, g.LogSoftmax(scores, axis=1))), keepdims=0)
        return str(g.Mul(total, g.const(self.temperature**2 / max(1, g.shape(output)[0]), like=total)))


@attrs.frozen
class MSE:
    """Mean of squared differences."""

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def append(self, g: Any, output: str, target: str) -> str:
        """See `Loss`."""
        d = g.Sub(output, target)
        return _mean(g, g.Mul(d, d))


@attrs.frozen
class MAE:
    """Mean of absolute differences."""

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def append(self, g: Any, output: str, target: str) -> str:
        """See `Loss`."""
        return _mean(g, g.Abs(g.Sub(output, target)))


@attrs.frozen
class Hinge:
    """Mean of max(0, margin - target * output); targets are -1 and 1."""

    margin: float = 1.0

    def target(self, output: TensorSpec) -> TensorSpec:
        """As the output."""
        return output

    def append(self, g: Any, output: str, target: str) -> str:
        """See `Loss`."""
        return _mean(g, g.Relu(g.Sub(g.const(self.margin, like=output), g.Mul(output, target))))
