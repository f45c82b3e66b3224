"""From one model to another that means the same: what `walle convert` does, without its program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.evaluate import evaluate
from walle_core.graph.fold import fold
from walle_core.graph.fusion import fold_batch_norm
from walle_core.graph.ir import Graph, Node, subgraphs
from walle_core.graph.shapes import infer
from walle_core.ops.element_types import number_of
from walle_core.ops.numpy_lazy import np
from walle_core.session import Session
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

SMALL = 1 << 16  # bytes of a result that is written in the place of the nodes that make it
FEW = 32  # elements up to which a constant keeps its type: shapes, scales, thresholds
KEPT = ("DequantizeLinear", "Cast")  # their results are wider than what is stored
IDS = 10  # drawn integers lie below: most models read them as positions or classes


def optimise(graph: Graph) -> Graph:
    """Without what no output needs, constants computed, normalisations folded into weights.

    Every operator that is left is one that a model may hold. What depends on backends and shapes (fusion, layouts) is
    done when a Session opens, for every model.
    """
    folded = fold(infer(graph), evaluate, SMALL, lambda n: n.op in KEPT)
    return fold(infer(fold_batch_norm(folded, evaluate)), evaluate, SMALL, lambda n: n.op in KEPT).pruned()


def narrow(graph: Graph, kind: str) -> Graph:
    """Weights in float32 are stored as float16 or bfloat16 and converted when a model is opened; runs stay in float32.

    A tensor with numbers beyond the narrower type's range stays as it is.
    """
    constants, specs, casts = dict(graph.constants), dict(graph.specs), []
    to = number_of(as_dtype("float32"))
    for name, value in graph.constants.items():
        if (
            str(value.dtype) != "float32"
            or value.size <= FEW
            or name in graph.outputs
            or name in graph.inputs
        ):
            continue
        stored = _narrowed(value, kind)
        if stored is None:
            continue
        short = f"{name}:{kind}"
        while short in specs or short in constants:
            short += "_"
        del constants[name]
        constants[short] = stored
        specs[short] = TensorSpec(as_dtype(kind), tuple(value.shape))
        casts.append(Node("Cast", (short,), (name,), {"to": to}, f"{name}:widen"))
    return graph.evolve(nodes=(*casts, *graph.nodes), constants=constants, specs=specs)


def _narrowed(value: Tensor, kind: str) -> Tensor | None:
    wide = np.asarray(value)
    if kind == "float16":
        with np.errstate(over="ignore"):
            short = wide.astype(np.float16)
        return Tensor.of(short) if np.isfinite(short).all() == np.isfinite(wide).all() else None
    bits = np.ascontiguousarray(wide).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)  # half to even
    if not np.isfinite(wide).all():
        return None
    return Tensor.wrap(rounded.tobytes(), "bfloat16", value.shape)


@attrs.frozen
class Summary:
    """What a model is made of.

    Attributes:
        operators: name -> how many, subgraphs included.
        weights: type -> bytes.
        bytes: of the file; 0 for a model in memory.
    """

    operators: Mapping[str, int]
    weights: Mapping[str, int]
    bytes: int = 0


def summary(graph: Graph, bytes: int = 0) -> Summary:
    """Counts of a graph."""
    operators: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    pending = [graph]
    while pending:
        part = pending.pop()
        operators.update(n.op for n in part.nodes)
        pending += [g for n in part.nodes for g in subgraphs(n)]
        for value in part.constants.values():
            weights[str(value.dtype)] += int(getattr(value, "nbytes", 0))
    return Summary(dict(operators), dict(weights), bytes)


def draw(graph: Graph, seed: int) -> dict[str, Any]:
    """Inputs that a model may take: normal numbers, small integers, any byte. Sizes that are open are 1."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        spec = graph.specs.get(name)
        if name in graph.constants:
            continue
        if spec is None or spec.shape is None or spec.dtype.kind not in "fiub":
            raise InputError(f"no input can be drawn for {name!r} {spec or ''}: give one with --input")
        shape = [d if isinstance(d, int) else 1 for d in spec.shape]
        kind = spec.dtype
        if kind.kind == "f":
            value = rng.standard_normal(shape).astype(kind.name if kind.name != "bfloat16" else "float32")
            feeds[name] = value
        elif kind.kind == "b":
            feeds[name] = rng.integers(0, 2, shape).astype(bool)
        elif kind.itemsize == 1:
            limits = np.iinfo(kind.name)
            feeds[name] = rng.integers(limits.min, limits.max + 1, shape, kind.name)
        else:
            feeds[name] = rng.integers(0, IDS, shape, kind.name)
    return feeds


@attrs.frozen
class Difference:
    """How far one output of the new model is from the old one's, over all runs.

    Attributes:
        name: of the output.
        largest: largest absolute difference; infinite where one has a number that the other has not.
        scale: largest absolute value of the old output.
        equal: True if every bit is the same.
    """

    name: str
    largest: float
    scale: float
    equal: bool

    @property
    def relative(self) -> float:
        """`largest` as a share of `scale`."""
        return 0.0 if self.largest == 0 else self.largest / self.scale if self.scale else float("inf")


def compare(
    before: Graph,
    after: Graph,
    runs: Sequence[Mapping[str, Any]],
    *,
    backend: str | None = None,
    threads: int = 2,
) -> list[Difference]:
    """Runs both models on the same inputs. Raises InputError if their inputs or outputs are not the same."""
    if before.inputs != after.inputs or len(before.outputs) != len(after.outputs):
        raise InputError(f"the new model takes {list(after.inputs)}, the old one {list(before.inputs)}")
    sessions = [Session(g, backend=backend, threads=threads, cache=False) for g in (before, after)]
    largest, scale = [0.0] * len(before.outputs), [0.0] * len(before.outputs)
    equal = [True] * len(before.outputs)
    for feeds in runs:
        old, new = (list(s.run(dict(feeds)).values()) for s in sessions)
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            one, two = np.asarray(a), np.asarray(b)
            same = one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
            equal[i] &= same
            if one.dtype.kind not in "fiubc":
                largest[i] = max(largest[i], 0.0 if same else float("inf"))
                continue
            scale[i] = max(scale[i], float(np.abs(one[np.isfinite(one)].astype(np.float64)).max(initial=0.0)))
            largest[i] = max(largest[i], 0.0 if same else _distance(one, two))
    return [Difference(*row) for row in zip(before.outputs, largest, scale, equal, strict=True)]


def _distance(one: Any, two: Any) -> float:
    if one.shape != two.shape:
        return float("inf")
    a, b = one.astype(np.float64), two.astype(np.float64)
    unequal = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore"):
        off = np.abs(a - b)[unequal]
    return float("inf") if np.isnan(off).any() else float(off.max(initial=0.0))
