"""What the attributes of recurrent layers mean: directions, gates, activations with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import require, text

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

# Activation -> (default alpha, default beta); None: it takes no such parameter and consumes none.
ACTIVATIONS: Mapping[str, tuple[float | None, float | None]] = {
    "Relu": (None, None), "Tanh": (None, None), "Sigmoid": (None, None), "Softsign": (None, None),
    "Softplus": (None, None), "LeakyRelu": (0.01, None), "ThresholdedRelu": (1.0, None), "Elu": (1.0, None),
    "Affine": (1.0, 0.0), "ScaledTanh": (1.0, 1.0), "HardSigmoid": (0.2, 0.5),
}  # fmt: skip


@attrs.frozen
class Activation:
    """An activation of a gate with its parameters."""

    name: str
    alpha: float
    beta: float

    def __call__(self, x: Any) -> Any:
        """On an array."""
        a, b = self.alpha, self.beta
        match self.name:
            case "Relu":
                y = np.maximum(x, 0)
            case "Tanh":
                y = np.tanh(x)
            case "Sigmoid":
                y = 0.5 * (1 + np.tanh(0.5 * x))
            case "Softsign":
                y = x / (1 + np.abs(x))
            case "Softplus":
                y = np.logaddexp(x, 0)
            case "LeakyRelu":
                y = np.where(x >= 0, x, a * x)
            case "ThresholdedRelu":
                y = np.where(x >= a, x, 0)
            case "Elu":
                y = np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0)))
            case "Affine":
                y = a * x + b
            case "ScaledTanh":
                y = a * np.tanh(b * x)
            case _:
                y = np.clip(a * x + b, 0, 1)
        return y.astype(x.dtype)


def activations(cell: str, directions: int, names: Any, alphas: Any, betas: Any) -> list[list[Activation]]:
    """Activations per direction; parameters are consumed in order by those that take one. Raises ValueError."""
    per = DEFAULTS[cell]
    given = [text(n) for n in names] if names else list(per) * directions
    require(len(given) >= len(per) * directions, f"activations {given} must name {len(per)} per direction")
    canonical = {n.lower(): n for n in ACTIVATIONS}
    alpha, beta = list(alphas or ()), list(betas or ())
    made = []
    for name in given[: len(per) * directions]:
        require(name.lower() in canonical, f"activation {name!r} must be one of {', '.join(ACTIVATIONS)}")
        known = canonical[name.lower()]
        a, b = ACTIVATIONS[known]
        a = float(alpha.pop(0)) if a is not None and alpha else a
        b = float(beta.pop(0)) if b is not None and beta else b
        made.append(Activation(known, a or 0.0, b or 0.0))
    return [made[i : i + len(per)] for i in range(0, len(made), len(per))]


def directions_of(direction: str | bytes) -> tuple[bool, ...]:
    """For each direction, whether it runs backwards. Raises ValueError."""
    found = DIRECTIONS.get(text(direction).lower())
    require(found is not None, f"direction {direction!r} must be one of {', '.join(DIRECTIONS)}")
    return found or ()
