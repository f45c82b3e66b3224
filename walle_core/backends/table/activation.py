"""Activations that heavy kernels apply to their results: names to the codes of kernels/activation.hpp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walle_core.backends.table.emitter import f64
from walle_core.errors import BackendError

ACTIVATIONS: Mapping[str, int] = {
    "": 0, "Relu": 1, "Clip": 2, "LeakyRelu": 3, "HardSwish": 4, "Sigmoid": 5, "Tanh": 6, "Gelu": 7, "Swish": 8,
}  # fmt: skip


def supports_activation(attributes: Mapping[str, Any]) -> bool:
    """True if the fused activation named in a node's attributes can run in a kernel's epilogue."""
    return attributes.get("activation", "") in ACTIVATIONS


def activation_args(attributes: Mapping[str, Any]) -> list[int]:
    """The three kernel arguments (code, f(alpha), f(beta)) for a node's ``activation`` attributes.

    Clip takes ``act_alpha`` as its lower and ``act_beta`` as its upper bound; LeakyRelu and Swish take ``act_alpha``
    as their slope (an absent or zero slope of Swish means 1). Raises BackendError for an unknown activation.
    """
    name = attributes.get("activation", "")
    if name not in ACTIVATIONS:
        raise BackendError(
            f"no kernel epilogue for activation {name!r}; known: {', '.join(filter(None, ACTIVATIONS))}"
        )
    alpha, beta = float(attributes.get("act_alpha", 0.0)), float(attributes.get("act_beta", 0.0))
    if name == "Swish" and alpha == 0.0:
        alpha = 1.0
    return [ACTIVATIONS[name], f64(alpha), f64(beta)]
