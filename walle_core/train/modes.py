"""What operators do in training only: statistics of the batch in batch normalisation, and dropout.

Dropout's masks are inputs of the step's graph, drawn on the host from (seed, step, node): so a step is the same on
every backend, and after it was resumed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import attrs

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer, with_constants
from walle_core.types import TensorSpec, bool_


@attrs.frozen
class Mask:
    """A dropout's mask: input `name` of this shape, of which `kept` of 256 elements are True on average."""

    name: str
    shape: tuple[int, ...]
    kept: int

    def draw(self, seed: int, step: int) -> Tensor:
        """The mask of one step."""
        size = 1
        for n in self.shape:
            size *= n
        table = bytes(i < self.kept for i in range(256))
        drawn = random.Random(f"{seed}/{step}/{self.name}").randbytes(size)  # noqa: S311 - no secret
        return Tensor.wrap(drawn.translate(table), "bool", self.shape)


@attrs.frozen(eq=False)
class Training:
    """A graph in training mode.

    Attributes:
        graph: masks are inputs, and statistics are values of their own.
        states: constant that holds a statistic -> value that replaces it after the step.
        masks: what `graph` wants besides the model's inputs.
    """

    graph: Graph
    states: Mapping[str, str]
    masks: tuple[Mask, ...]


def training(graph: Graph, statistics: bool = True) -> Training:
    """The graph as it is trained; shapes must be known. `statistics` False keeps those of batch normalisation."""
    graph = infer(with_constants(graph))
    nodes: list[Node] = []
    states: dict[str, str] = {}
    masks: list[Mask] = []
    specs, constants = dict(graph.specs), dict(graph.constants)
    for node in graph.nodes:
        if node.op == "BatchNormalization" and statistics and set(node.inputs[3:]) <= constants.keys():
            made = [f"{node.name}/{kind}" for kind in ("mean", "variance")]
            states.update(zip(node.inputs[3:], made, strict=True))
            node = node.evolve(outputs=(node.outputs[0], *made), attrs={**node.attrs, "training_mode": 1})
        elif node.op == "Dropout":
            mask = _mask(node, specs, constants)
            if mask is None:
                nodes.append(Node("Identity", node.inputs[:1], node.outputs[:1], {}, node.name))
                continue
            masks.append(mask)
            specs[mask.name] = TensorSpec(bool_, mask.shape)
            nodes += _dropped(node, mask, specs, constants)
            continue
        nodes.append(node)
    inputs = (*graph.inputs, *(m.name for m in masks))
    made_graph = graph.evolve(inputs=inputs, nodes=tuple(nodes), specs=specs, constants=constants)
    return Training(infer(with_constants(made_graph)), states, tuple(masks))


def _mask(node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Tensor]) -> Mask | None:
    ratio = 0.5
    if len(node.inputs) > 1 and node.inputs[1]:
        ratio = float(constants[node.inputs[1]].reshape(-1).tolist()[0])
    kept = min(256, max(1, round((1 - ratio) * 256)))
    return Mask(f"{node.name}/mask", specs[node.inputs[0]].sizes, kept) if kept < 256 else None


def _dropped(
    node: Node, mask: Mask, specs: Mapping[str, TensorSpec], constants: dict[str, Tensor]
) -> list[Node]:
    """The input where the mask is True, scaled so that its mean stays; else zero."""
    dtype = specs[node.inputs[0]].dtype.name
    zero, scale, scaled = (f"{node.name}/{part}" for part in ("zero", "scale", "scaled"))
    constants[zero], constants[scale] = Tensor.of(0, dtype), Tensor.of(256 / mask.kept, dtype)
    return [
        Node("Mul", (node.inputs[0], scale), (scaled,), {}, scaled),
        Node("Where", (mask.name, scaled, zero), node.outputs[:1], {}, node.name),
        *(Node("Identity", (mask.name,), (o,), {}, f"{node.name}/kept") for o in node.outputs[1:] if o),
    ]
