"""The graph of one training step: forward, loss, gradients, their norm, the optimiser's updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from walle_core.errors import InputError, ModelError
from walle_core.graph.builder import Builder
from walle_core.graph.differentiate import differentiate
from walle_core.graph.ir import Graph
from walle_core.graph.reductions import split_reductions
from walle_core.train.losses import Loss
from walle_core.train.modes import Mask, training
from walle_core.train.optimizers import Optimizer
from walle_core.train.recompute import recompute
from walle_core.types import TensorSpec

TARGET, RATE = "train/target", "train/lr"


@attrs.frozen(eq=False)
class Step:
    """A step's graph and how its inputs and outputs are called.

    Attributes:
        graph: its inputs are data, target, masks, parameters, statistics, slots and numbers.
        target: spec of the target.
        masks: of dropout.
        numbers: names of scalar inputs.
        loss, norm: outputs: the loss and the norm of all gradients before clipping.
        updated: name of an input that is kept between steps -> output that replaces it.
    """

    graph: Graph
    target: TensorSpec
    masks: tuple[Mask, ...]
    numbers: tuple[str, ...]
    loss: str
    norm: str
    updated: Mapping[str, str]


def slot(name: str, kind: str) -> str:
    """Name of the input that holds an optimiser's tensor of a parameter."""
    return f"train/{kind}/{name}"


def make_step(
    graph: Graph, trained: Sequence[str], output: str, loss: Loss, optimizer: Optimizer, clip: float | None,
    statistics: bool, again: bool,
) -> Step:  # fmt: skip
    """The step of a graph with known input shapes.

    Args:
        graph: the model.
        trained: names of the constants that change.
        output: the value that the loss judges.
        loss, optimizer: what is made small, and how.
        clip: longest norm of all gradients together; None for any.
        statistics: whether batch normalisation uses, and measures, those of the batch.
        again: computes cheap forward values again in the backward pass.
    """
    mode = training(graph.evolve(outputs=(output,)).pruned(), statistics)
    graph, kept = mode.graph, (*trained, *mode.states)
    if missing := [n for n in trained if n not in graph.constants]:
        raise InputError(
            f"{graph.source or graph.name}: {missing[0]!r} is no weight of what {output!r} depends on"
        )
    free = {n: v for n, v in graph.constants.items() if n not in kept}
    spec = graph.specs.get(output)
    if spec is None or not spec.static:
        raise ModelError(f"{graph.source or graph.name}: the shape of {output!r} is not known before the run")
    target = loss.target(spec)
    g = Builder("loss/", graph.specs, free)
    g.nodes, g.specs[TARGET] = list(graph.nodes), target
    value = loss.append(g, output, TARGET)
    whole = graph.evolve(nodes=tuple(g.nodes), constants=g.constants, specs=g.specs)
    made = differentiate(whole, value, list(trained))
    graph = made.graph
    if again:
        forward = next(i for i, n in enumerate(graph.nodes) if any(o.startswith("grad/") for o in n.outputs))
        graph = recompute(graph, forward)
    g = Builder("update/", graph.specs, graph.constants)
    g.nodes = list(graph.nodes)
    updated, numbers, norm = _updates(g, made.gradients, optimizer, clip)
    updated |= mode.states
    inputs = (*graph.inputs, TARGET, *kept, *(n for n in updated if n not in kept), *numbers)
    outputs = (value, norm, *updated.values())
    finished = graph.evolve(
        inputs=inputs, outputs=outputs, nodes=tuple(g.nodes), constants=g.constants, specs=g.specs
    )
    finished = split_reductions(finished.pruned())
    return Step(finished, target, mode.masks, numbers, value, norm, updated)


def _updates(
    g: Builder, gradients: Mapping[str, str], optimizer: Optimizer, clip: float | None
) -> tuple[dict[str, str], tuple[str, ...], str]:
    """(kept input -> output that replaces it, names of numbers, norm)."""
    first = next(iter(gradients))
    dtype = g.dtype(first)
    scalars = {"lr": RATE, **{n: f"train/{n}" for n in optimizer.numbers(1)}}
    for name in scalars.values():
        g.specs[name] = TensorSpec(dtype, ())
    total: str | None = None
    for grad in gradients.values():
        square = g.ReduceSum(g.Mul(grad, grad), keepdims=0)
        square = square if g.dtype(square) == dtype else g.CastLike(square, first)
        total = square if total is None else g.Add(total, square)
    norm = g.Sqrt(total)
    scale = None
    if clip is not None:
        scale = g.Min(g.Div(g.const(clip, dtype), g.Add(norm, g.const(1e-6, dtype))), g.const(1, dtype))
    updated: dict[str, str] = {}
    for name, grad in gradients.items():
        if scale is not None:
            grad = g.Mul(grad, scale if g.dtype(grad) == dtype else g.CastLike(scale, grad))
        slots = [slot(name, kind) for kind in optimizer.slots]
        for each in slots:
            g.specs[each] = g.specs[name]
        numbers = {k: v if g.dtype(name) == dtype else g.CastLike(v, name) for k, v in scalars.items()}
        value, new = optimizer.append(g, name, grad, slots, numbers)
        updated |= {name: value, **dict(zip(slots, new, strict=True))}
    return updated, tuple(scalars.values()), norm
