"""Low-rank adapters (Hu et al., "LoRA", 2021): a product of two thin matrices beside a weight that stays as it is."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.evaluate import evaluate
from walle_core.graph.ir import Graph, Node
from walle_core.train.parameters import unpacked

DOWN, UP = "lora.down/", "lora.up/"
SCALE = "lora.scale"


@attrs.frozen(eq=False)
class Adapted:
    """A graph with adapters, and the names of their matrices, which are what is trained."""

    graph: Graph
    trained: tuple[str, ...]


def adapt(
    graph: Graph, rank: int, scale: float = 1.0, weights: Sequence[str] | None = None, seed: int = 0
) -> Adapted:
    """Adds scale * (x * down * up) to the products of x with constant matrices; `up` begins at zero.

    Args:
        graph: the model.
        rank: columns of `down`, rows of `up`.
        scale: of what the adapters add.
        weights: names of the matrices; all that MatMul and Gemm read by default.
        seed: of the first values of `down`.

    Raises:
        InputError: a name is no matrix that MatMul or Gemm multiply by, or there is none.
    """
    if rank < 1:
        raise InputError(f"rank must be at least 1, not {rank}")
    graph = unpacked(graph)
    nodes: list[Node] = []
    constants, found = dict(graph.constants), {}
    for node in graph.nodes:
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        weight = graph.constants.get(name)
        matrix = node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transA", 0))
        chosen = weights is None or name in weights
        if not (
            matrix
            and chosen
            and isinstance(weight, Tensor)
            and weight.ndim == 2
            and weight.dtype == "float32"
        ):
            nodes.append(node)
            continue
        rows, columns = weight.shape if not node.attrs.get("transB", 0) else weight.shape[::-1]
        draw = random.Random(f"{seed}/{name}")  # noqa: S311 - no secret
        down = [draw.gauss(0, rows**-0.5) for _ in range(rows * rank)]
        constants[DOWN + name] = Tensor.of(down, "float32").reshape(rows, rank)
        constants[UP + name] = Tensor((rank, columns), "float32")
        constants[SCALE] = Tensor.of(scale, "float32")
        found[name] = (DOWN + name, UP + name)
        out, stem = node.outputs[0], f"lora/{node.name}"
        nodes += [
            node.evolve(outputs=(f"{stem}/own",)),
            Node("MatMul", (node.inputs[0], DOWN + name), (f"{stem}/thin",), {}, f"{stem}/thin"),
            Node("MatMul", (f"{stem}/thin", UP + name), (f"{stem}/wide",), {}, f"{stem}/wide"),
            Node("Mul", (f"{stem}/wide", SCALE), (f"{stem}/scaled",), {}, f"{stem}/scaled"),
            Node("Add", (f"{stem}/own", f"{stem}/scaled"), (out,), {}, f"{stem}/sum"),
        ]
    if missing := [n for n in weights or () if n not in found]:
        raise InputError(
            f"{graph.source or graph.name}: {missing[0]!r} is no matrix that MatMul or Gemm multiply by"
        )
    if not found:
        raise InputError(f"{graph.source or graph.name}: has no matrix that MatMul or Gemm multiply by")
    return Adapted(
        graph.evolve(nodes=tuple(nodes), constants=constants),
        tuple(n for pair in found.values() for n in pair),
    )


def merge(graph: Graph) -> Graph:
    """The graph without adapters: what they add is added to the weights."""
    nodes: list[Node] = []
    constants = {n: v for n, v in graph.constants.items() if not n.startswith((DOWN, UP, SCALE))}
    done: set[str] = set()
    for node in graph.nodes:
        if node.name.startswith("lora/"):
            if node.name.endswith("/sum"):
                own = nodes.pop()
                nodes.append(own.evolve(outputs=node.outputs))
            continue
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        if DOWN + name in graph.constants and name not in done:
            done.add(name)
            constants[name] = _merged(
                graph, name, bool(node.attrs.get("transB", 0)), float(node.attrs.get("alpha", 1.0))
            )
        nodes.append(node)
    return graph.evolve(nodes=tuple(nodes), constants=constants)


def _merged(graph: Graph, name: str, transposed: bool, alpha: float) -> Tensor:
    """Weight + scale / alpha * down * up, the sum transposed as the weight is."""
    scale = float(graph.constants[SCALE].item()) / alpha
    down, up = graph.constants[DOWN + name], graph.constants[UP + name]
    operands, attributes = ((up, down), {"transA": 1, "transB": 1}) if transposed else ((down, up), {})
    node = Node("Gemm", ("a", "b", "c"), ("y",), {**attributes, "alpha": scale}, "lora/merge")
    made = evaluate(node, [*operands, graph.constants[name]])
    if made is None:
        raise InputError(f"the adapters of {name!r} cannot be merged: nothing here computes a product")
    found: Tensor = made[0]
    return found
