"""Which operators to leave in float32 so that the outputs stay as close as asked.

What an operator in 8-bit integers does to the outputs is measured with that operator alone quantised; rounding errors are
nearly independent, so that what they do adds up (Zhou et al., Adaptive Quantization for Deep Neural Network, 2018, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import operations
from walle_core.ops.numpy_lazy import np
from walle_core.quantization.insert import PASSING
from walle_core.session import Session

MAX_RUNS = 8  # per operator
CALL = 1e5  # operations that an operator costs beside its own: the conversion of its operands


def noise(
    graph: Graph, nodes: Mapping[str, Node], quantised: Callable[[Mapping[str, Node]], Graph],
    batches: Sequence[Mapping[str, Any]], threads: int, progress: Callable[[str], None],
) -> dict[str, float]:  # fmt: skip
    """Per operator, the mean square of what quantising it alone changes in the outputs, relative to theirs."""
    data = batches[:MAX_RUNS]
    exact = Session(graph, threads=threads)
    want = [[np.array(v, np.float64) for v in exact.run(feeds).values()] for feeds in data]
    power = sum(float((v * v).sum()) for run in want for v in run)
    found, computing = {}, {k: n for k, n in nodes.items() if n.op not in PASSING}
    for index, (name, node) in enumerate(computing.items()):
        progress(f"sensitivity {index + 1} of {len(computing)}")
        alone = Session(quantised({name: node}), threads=threads)
        found[name] = sum(
            float(((np.asarray(got, np.float64) - v) ** 2).sum())
            for feeds, run in zip(data, want, strict=True)
            for got, v in zip(alone.run(feeds).values(), run, strict=True)
        ) / max(power, 1e-30)
    return found


def released(
    graph: Graph, nodes: Mapping[str, Node], noises: Mapping[str, float], sqnr_db: float
) -> Collection[str]:
    """Names of operators to leave in float32: those first whose noise is largest for what they compute, until the noise
    of the others is `sqnr_db` below the signal.
    """
    found: list[str] = []
    left, budget = sum(noises.values()), 10 ** (-sqnr_db / 10)

    def gain(name: str) -> float:
        return noises[name] / (CALL + operations(nodes[name], graph.specs, graph.constants))

    for name in sorted(noises, key=gain, reverse=True):
        if left <= budget:
            break
        found.append(name)
        left -= noises[name]
    return found
