"""Static quantisation after training: float32 models to QDQ models in 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import InputError
from walle_core.evaluate import evaluate
from walle_core.graph.fold import fold
from walle_core.graph.fusion import fold_batch_norm
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer
from walle_core.ops.numpy_lazy import np
from walle_core.quantization.insert import PASSING, Insertion, activations, quantised_nodes
from walle_core.quantization.mixed import noise, released
from walle_core.quantization.ranges import METHODS, observe
from walle_core.session import Session

__all__ = ["METHODS", "Report", "quantize"]

MAX_COMPARED = 32  # runs of both models


@attrs.frozen
class Report:
    """How close the quantised model is, on the calibration data.

    Attributes:
        quantised, kept: operators in 8-bit integers, and all others.
        cosine: least cosine between the outputs of both models over the batches.
        sqnr_db: signal to quantisation noise of the outputs, in dB.
        top1: share of rows whose largest output is the same; None where outputs are no rows of scores.
        layers: (name, SQNR in dB) of quantised operators' results, worst first.
    """

    quantised: int
    kept: int
    cosine: float
    sqnr_db: float
    top1: float | None
    layers: tuple[tuple[str, float], ...]


def quantize(
    graph: Graph,
    batches: Sequence[Mapping[str, Any]],
    *,
    method: str = "mse",
    percentile: float = 99.99,
    exclude: Collection[str] = (),
    bias_correction: bool = True,
    weight_bits: int = 8,
    sqnr_db: float | None = None,
    threads: int = 2,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Graph, Report]:
    """Quantises a model: int8 weights per output channel, uint8 activations per tensor.

    Args:
        graph: float32 model with fixed input shapes.
        batches: calibration data, input name -> array, one mapping per run; 50 to 500 typical ones do.
        method: range of an activation: ``mse`` (least squares), ``minmax``, ``percentile`` (ignores outliers) or
            ``entropy`` (Kullback-Leibler).
        percentile: share of elements inside the range, in percent; for ``percentile``.
        exclude: names of operators that stay in float32.
        bias_correction: makes up in the biases for the mean of what rounding the weights changes.
        weight_bits: 8, or 7 for processors whose byte products saturate: x86 without VNNI runs 7-bit weights faster.
        sqnr_db: leaves operators in float32, those first that disturb the outputs most for what they compute, until the
            outputs' signal is so much above the noise; None: all are quantised.
        threads: of the runs.
        progress: told what is being done.

    Returns:
        The model with QuantizeLinear and DequantizeLinear (ONNX), and how close it is.

    Raises:
        InputError: no data, data that does not fit or is not finite, an unknown method, number of bits or operator
            name, nothing to quantise.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is not one of {', '.join(METHODS)}")
    if not 50 < percentile <= 100:
        raise InputError(f"percentile must be above 50 and at most 100, not {percentile}")
    if weight_bits not in (7, 8):
        raise InputError(f"weights have 7 or 8 bits, not {weight_bits}")
    if sqnr_db is not None and not 0 < sqnr_db <= 100:
        raise InputError(f"sqnr_db must be above 0 and at most 100, not {sqnr_db}")
    if not batches:
        raise InputError("quantisation needs calibration data: at least one run's inputs")
    names = {n.name for n in graph.nodes}
    if unknown := sorted(set(exclude) - names):
        raise InputError(f"the model has no operator {unknown[0]!r} to exclude; `walle explain` lists them")
    graph = infer(fold_batch_norm(fold(infer(graph), evaluate), evaluate)).pruned()
    nodes = quantised_nodes(graph, set(exclude))
    if not nodes:
        raise InputError("nothing to quantise: no Conv, Gemm or MatMul with constant float32 weights is left")
    wanted = activations(nodes)
    wanted = [n for n in wanted if graph.specs[n].dtype.name == "float32"]
    results = [n.outputs[0] for n in nodes.values() if n.op not in PASSING]
    seen = tuple(dict.fromkeys([*(n for n in wanted if n not in graph.inputs), *results, *graph.outputs]))
    session = Session(graph.evolve(outputs=seen), threads=threads)

    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        made = {k: np.array(v) for k, v in session.run(feeds).items()}
        return {
            **{n: np.asarray(feeds[n]) for n in wanted if n in graph.inputs},
            **{n: made[n] for n in wanted if n in made},
        }

    ranges = observe(run, batches, method, progress)
    limits = {n: r.limits(method, percentile) for n, r in ranges.items()}

    def quantised(some: Mapping[str, Node]) -> Graph:
        return Insertion(graph, some, ranges, limits, bias_correction, weight_bits).run()

    if sqnr_db is not None:
        free = released(graph, nodes, noise(graph, nodes, quantised, batches, threads, progress), sqnr_db)
        nodes = quantised_nodes(graph, {*exclude, *free})
        results = [n.outputs[0] for n in nodes.values() if n.op not in PASSING]
        if not results:
            raise InputError(f"{sqnr_db} dB leave nothing to quantise; ask for less")
    made = quantised(nodes)
    progress("comparing")
    return made, _compare(session, made, graph, results, batches, len(results), threads)


def _compare(
    session: Session, made: Graph, graph: Graph, results: Sequence[str], batches: Sequence[Mapping[str, Any]],
    count: int, threads: int,
) -> Report:  # fmt: skip
    seen = tuple(dict.fromkeys([*results, *graph.outputs]))
    quantised = Session(made.evolve(outputs=seen), threads=threads)
    power: dict[str, float] = dict.fromkeys(seen, 0.0)
    noise: dict[str, float] = dict.fromkeys(seen, 0.0)
    cosine, same, rows = 1.0, 0, 0
    for feeds in batches[:MAX_COMPARED]:
        want, got = session.run(feeds), quantised.run(feeds)
        for name in seen:
            a, b = np.array(want[name], np.float64), np.array(got[name], np.float64)
            power[name] += float((a * a).sum())
            noise[name] += float(((a - b) ** 2).sum())
            if name in graph.outputs:
                cosine = min(cosine, float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)))
                if name == graph.outputs[0] and a.ndim == 2 and a.shape[1] > 1:
                    same += int((a.argmax(axis=1) == b.argmax(axis=1)).sum())
                    rows += len(a)

    def decibels(names: Sequence[str]) -> float:
        return float(
            10 * np.log10(max(sum(power[n] for n in names), 1e-30) / max(sum(noise[n] for n in names), 1e-30))
        )

    by_result = {n.outputs[0]: n.name for n in graph.nodes}
    layers = sorted(((by_result[r], decibels([r])) for r in results), key=lambda row: row[1])
    return Report(
        count,
        len(graph.nodes) - count,
        cosine,
        decibels(graph.outputs),
        same / rows if rows else None,
        tuple(layers),
    )
