"""Update rules of gradient descent (domain ai.onnx.preview.training): composite, one update per optimized tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core.ops.define import Sample, composite
from walle_core.ops.rules import require, text

DOMAIN = "ai.onnx.preview.training."


def _groups(values: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Inputs come kind after kind (all tensors, all gradients, ...): one tuple of `count` kinds per tensor."""
    require(
        len(values) > 0 and len(values) % count == 0,
        f"{len(values)} inputs must be {count} per optimized tensor",
    )
    n = len(values) // count
    return [tuple(values[k * n + i] for k in range(count)) for i in range(n)]


def _flat(results: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(v for kind in zip(*results, strict=True) for v in kind)


class _Arithmetic:
    """Appends scalar-constant arithmetic in the dtype of a value."""

    def __init__(self, g: Any, like: str) -> None:
        self.g = g
        self.like = like

    def number(self, value: float) -> str:
        return str(self.g.const(value, like=self.like))

    def scaled(self, x: str, factor: float) -> str:
        return str(self.g.Mul(x, self.number(factor)))

    def regularized(self, x: str, gradient: str, coefficient: float) -> str:
        return str(self.g.Add(self.scaled(x, coefficient), gradient)) if coefficient else gradient

    def cast(self, x: str) -> str:
        return str(self.g.CastLike(self.g.Reshape(x, self.g.const([], "int64")), self.like))

    def started(self, count: str, then: str, otherwise: str) -> str:
        """`then` where the update count is above 0."""
        zero = self.g.const(0, like=count)
        return str(
            self.g.Where(
                self.g.Greater(self.g.Reshape(count, self.g.const([], "int64")), zero), then, otherwise
            )
        )


_TYPES = ("float32", "int64", *["float32"] * 8)


def _samples(kinds: int, **attributes: Any) -> tuple[Sample, ...]:
    # accumulated squares lie under a root: they are drawn by the domain, which is positive here
    return (
        Sample((0.1, 0, *[(3,)] * kinds), attributes, _TYPES),
        Sample((0.1, 3, *[(2, 2), (3,)] * kinds), attributes, _TYPES),
    )


def _update(name: str, kinds: int, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return composite(
        DOMAIN + name, "training", domain=(0.1, 1.0), ulp=16, samples=_samples(kinds, **attributes),
    )  # fmt: skip


@_update("Adagrad", 3, norm_coefficient=0.01, decay_factor=0.1)
def adagrad(
    g: Any,
    r: str,
    t: str,
    *inputs: str,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Any:
    """One step of AdaGrad (Duchi, Hazan, Singer 2011): tensors, gradients, squared gradients -> tensors, squares."""
    results = []
    for x, gradient, squares in _groups(inputs, 3):
        a = _Arithmetic(g, x)
        rate = g.Div(a.cast(r), g.Add(a.number(1.0), a.scaled(a.cast(t), decay_factor)))
        step = a.regularized(x, gradient, norm_coefficient)
        squares = g.Add(squares, g.Mul(step, step))
        root = g.Add(g.Sqrt(squares), a.number(epsilon))
        results.append((g.Sub(x, g.Div(g.Mul(rate, step), root)), squares))
    return _flat(results)


@_update("Adam", 4, norm_coefficient=0.01)
def adam(
    g: Any, r: str, t: str, *inputs: str, alpha: float = 0.9, beta: float = 0.999, epsilon: float = 1e-6,
    norm_coefficient: float = 0.0, norm_coefficient_post: float = 0.0,
) -> Any:  # fmt: skip
    """One step of Adam (Kingma, Ba 2015): tensors, gradients, means, squares -> tensors, means, squares."""
    results = []
    for x, gradient, mean, squares in _groups(inputs, 4):
        a = _Arithmetic(g, x)
        step = a.regularized(x, gradient, norm_coefficient)
        mean = g.Add(a.scaled(mean, alpha), a.scaled(step, 1 - alpha))
        squares = g.Add(a.scaled(squares, beta), a.scaled(g.Mul(step, step), 1 - beta))
        root = g.Add(g.Sqrt(squares), a.number(epsilon))
        rate, count = a.cast(r), a.cast(t)
        left = g.Sub(a.number(1.0), g.Pow(a.number(beta), count))
        right = g.Sub(a.number(1.0), g.Pow(a.number(alpha), count))
        rate = a.started(t, g.Div(g.Mul(rate, g.Sqrt(left)), right), rate)
        new = g.Sub(x, g.Div(g.Mul(rate, mean), root))
        results.append(
            (a.scaled(new, 1 - norm_coefficient_post) if norm_coefficient_post else new, mean, squares)
        )
    return _flat(results)


@_update("Momentum", 3, alpha=0.9, beta=0.8, mode="nesterov", norm_coefficient=0.01)
def momentum(
    g: Any,
    r: str,
    t: str,
    *inputs: str,
    alpha: float,
    beta: float,
    mode: str | bytes,
    norm_coefficient: float,
) -> Any:
    """One step of gradient descent with momentum, standard or Nesterov's: tensors, gradients, momenta -> tensors, momenta."""
    kind = text(mode)
    require(kind in ("standard", "nesterov"), f"mode {kind!r} must be standard or nesterov")
    results = []
    for x, gradient, velocity in _groups(inputs, 3):
        a = _Arithmetic(g, x)
        step = a.regularized(x, gradient, norm_coefficient)
        factor = a.started(t, a.number(beta), a.number(1.0))
        velocity = g.Add(a.scaled(velocity, alpha), g.Mul(factor, step))
        direction = velocity if kind == "standard" else g.Add(step, a.scaled(velocity, alpha))
        results.append((g.Sub(x, g.Mul(a.cast(r), direction)), velocity))
    return _flat(results)
