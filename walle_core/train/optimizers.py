"""Optimisers: each appends one parameter's update to the graph of a step, so that the step stays one native call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from walle_core.errors import InputError


class Optimizer(Protocol):
    """What an optimiser must offer.

    Attributes:
        lr: learning rate, multiplied by the schedule's factor.
        slots: names of the tensors that it keeps per parameter, in the parameter's shape, zero at first.
    """

    @property
    def lr(self) -> float: ...  # noqa: D102

    @property
    def slots(self) -> tuple[str, ...]: ...  # noqa: D102

    def numbers(self, step: int) -> Mapping[str, float]:
        """Further numbers that a step needs besides the learning rate; steps count from 1."""

    def append(
        self, g: Any, value: str, grad: str, slots: Sequence[str], numbers: Mapping[str, str]
    ) -> tuple[str, list[str]]:
        """Appends the new value and the new slots; `numbers` are names of scalars, ``lr`` among them."""


def _times(g: Any, x: str, factor: float) -> str:
    return str(g.Mul(x, g.const(factor, like=x)))


def _share(name: str) -> Any:
    def check(_self: Any, _attribute: Any, value: float) -> None:
        if not 0 <= value < 1:
            raise InputError(f"{name} must be in [0, 1), not {value}")

    return check


def _positive(_self: Any, attribute: Any, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise InputError(f"{attribute.name} must be a number of at least 0, not {value}")


@attrs.frozen
class SGD:
    """Stochastic gradient descent.

    Attributes:
        lr: learning rate.
        momentum: share of the last step that is kept.
        nesterov: looks ahead along the momentum.
        weight_decay: multiple of the value that is added to its gradient.
    """

    lr: float = attrs.field(default=0.01, validator=_positive)
    momentum: float = attrs.field(default=0.0, validator=_share("momentum"))
    nesterov: bool = False
    weight_decay: float = attrs.field(default=0.0, validator=_positive)

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    def numbers(self, step: int) -> Mapping[str, float]:
        """None."""
        return {}

    def append(
        self, g: Any, value: str, grad: str, slots: Sequence[str], numbers: Mapping[str, str]
    ) -> tuple[str, list[str]]:
        """See `Optimizer`."""
        if self.weight_decay:
            grad = g.Add(grad, _times(g, value, self.weight_decay))
        kept: list[str] = []
        if self.momentum:
            velocity = g.Add(_times(g, slots[0], self.momentum), grad)
            kept = [velocity]
            grad = g.Add(grad, _times(g, velocity, self.momentum)) if self.nesterov else velocity
        return g.Sub(value, g.Mul(grad, numbers["lr"])), kept


@attrs.frozen
class Adam:
    """Adam (Kingma and Ba, 2015): steps in units of the gradient's own size.

    Attributes:
        lr: learning rate.
        beta1, beta2: decay of the means of the gradient and of its square.
        epsilon: added to the root of the second mean.
        weight_decay: multiple of the value that is added to its gradient.
    """

    lr: float = attrs.field(default=1e-3, validator=_positive)
    beta1: float = attrs.field(default=0.9, validator=_share("beta1"))
    beta2: float = attrs.field(default=0.999, validator=_share("beta2"))
    epsilon: float = attrs.field(default=1e-8, validator=_positive)
    weight_decay: float = attrs.field(default=0.0, validator=_positive)

    decoupled = False  # whether the decay bypasses the means

    @property
    def slots(self) -> tuple[str, ...]:
        """Means of the gradient and of its square."""
        return ("mean", "square")

    def numbers(self, step: int) -> Mapping[str, float]:
        """What corrects the means for having begun at zero."""
        return {"correct1": 1 / (1 - self.beta1**step), "correct2": 1 / (1 - self.beta2**step)}

    def append(
        self, g: Any, value: str, grad: str, slots: Sequence[str], numbers: Mapping[str, str]
    ) -> tuple[str, list[str]]:
        """See `Optimizer`."""
        lr = numbers["lr"]
        if self.weight_decay and self.decoupled:
            value = g.Sub(value, g.Mul(value, _times(g, lr, self.weight_decay)))
        elif self.weight_decay:
            grad = g.Add(grad, _times(g, value, self.weight_decay))
        mean = g.Add(_times(g, slots[0], self.beta1), _times(g, grad, 1 - self.beta1))
        square = g.Add(_times(g, slots[1], self.beta2), g.Mul(_times(g, grad, 1 - self.beta2), grad))
        root = g.Add(g.Sqrt(g.Mul(square, numbers["correct2"])), g.const(self.epsilon, like=square))
        rate = g.Mul(lr, numbers["correct1"])
        return g.Sub(value, g.Div(g.Mul(mean, rate), root)), [mean, square]


@attrs.frozen
class AdamW(Adam):
    """Adam whose weight decay acts on the values themselves (Loshchilov and Hutter, 2019)."""

    weight_decay: float = attrs.field(default=0.01, validator=_positive)

    decoupled = True
