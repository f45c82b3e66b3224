"""ONNX's backend node tests against any Walle backend.

The `onnx` package makes the cases (`onnx.backend.test.loader`): a model, inputs, expected outputs and tolerances. A case
passes when every output has the expected kind, dtype and shape and its values lie within the case's own tolerances.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from walle_core.backends.arrays import to_array
from walle_core.backends.interpreter import evaluate
from walle_core.errors import WalleError
from walle_core.graph.ir import Graph

Runner = Callable[[Graph, Mapping[str, Any]], Sequence[Any]]
Loader = Callable[[bytes], Graph]

# Cases whose expected values one generator alone could draw. Their outputs are still compared in number, dtype and shape.
RANDOM = "values are random: the standard fixes no generator, so only dtype and shape are compared"
GAPS: Mapping[str, str] = {
    f"test_bernoulli{which}{form}": RANDOM for which in ("", "_double", "_seed") for form in ("", "_expanded")
}

BFLOAT16_RTOL = 2.0**-6  # two units in the last place; the case's own 1e-3 is finer than the format


@attrs.frozen
class NodeCase:
    """One node test.

    Attributes:
        name: ONNX's name, for example ``test_softmax_axis_0``.
        model: the serialized ModelProto.
        data_sets: (inputs, expected outputs) pairs of arrays, lists (sequences) or None (empty optionals).
        rtol, atol: the case's tolerances.
    """

    name: str
    model: bytes = attrs.field(repr=False)
    data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]] = attrs.field(repr=False)
    rtol: float = 1e-3
    atol: float = 1e-7


@attrs.frozen
class Outcome:
    """What became of a case: `reason` is empty when it passed, else one line."""

    name: str
    passed: bool
    reason: str = ""


@functools.cache
def cases() -> Mapping[str, NodeCase]:
    """All node tests of the installed `onnx`, by name. Raises ImportError without that package."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_model_tests(kind="node")
    found = {}
    for case in loaded:
        assert case.data_sets is not None
        assert case.model is not None
        sets = [([_value(v) for v in given], [_value(v) for v in wanted]) for given, wanted in case.data_sets]
        found[case.name] = NodeCase(case.name, case.model.SerializeToString(), sets, case.rtol, case.atol)
    return found


def _value(value: Any) -> Any:
    """A case's value as arrays: protobuf messages are decoded, numbers become rank 0."""
    from onnx import numpy_helper

    kind = type(value).__name__
    if kind == "TensorProto":
        return numpy_helper.to_array(value)
    if kind == "SequenceProto":
        return numpy_helper.to_list(value)
    if kind == "OptionalProto":
        return numpy_helper.to_optional(value)
    if isinstance(value, (list, tuple)):
        return [_value(v) for v in value]
    return None if value is None else np.asarray(value)


def reference_runner(graph: Graph, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """Runs on the interpreter of the reference backend."""
    return evaluate(graph, feeds)


def backend_runner(backend: str, threads: int = 2) -> Runner:
    """Runs through `walle_core.Session` on the backend of that name; the reference takes what it cannot run."""
    import walle_core

    def run(graph: Graph, feeds: Mapping[str, Any]) -> Sequence[Any]:
        session = walle_core.Session(graph, backend=backend, threads=threads)
        outputs = session.run(dict(feeds))
        return [outputs[name] for name in graph.outputs] if isinstance(outputs, Mapping) else list(outputs)

    return run


def onnx_loader(data: bytes) -> Graph:
    """Loads a model with Walle's own ONNX frontend."""
    from walle_core.frontends.onnx import OnnxFrontend

    return OnnxFrontend().load_bytes(data)


def run_case(case: NodeCase, run: Runner = reference_runner, load: Loader = onnx_loader) -> Outcome:
    """Runs one case; a WalleError or a difference is a failure with a reason, anything else is raised.

    A case in `GAPS` never passes: its reason is the declared one unless something else is wrong with it too.
    """
    gap = GAPS.get(case.name, "")
    try:
        graph = load(case.model)
        for inputs, expected in case.data_sets:
            feeds = dict(zip(_input_names(case.model), inputs, strict=False))
            outputs = run(graph, feeds)
            if len(outputs) != len(expected):
                return Outcome(
                    case.name, passed=False, reason=f"{len(outputs)} outputs instead of {len(expected)}"
                )
            for name, want, got in zip(graph.outputs, expected, outputs, strict=True):
                if why := difference(to_array(got), want, case.rtol, case.atol, values=not gap):
                    return Outcome(case.name, passed=False, reason=f"output {name!r}: {why}")
    except WalleError as error:
        return Outcome(case.name, passed=False, reason=f"{type(error).__name__}: {error}")
    return Outcome(case.name, passed=not gap, reason=gap)


def run_all(
    run: Runner = reference_runner, load: Loader = onnx_loader, names: Iterable[str] | None = None
) -> list[Outcome]:
    """Runs the named cases, or all, in the order of their names."""
    known = cases()
    return [run_case(known[name], run, load) for name in sorted(names if names is not None else known)]


def _input_names(model: bytes) -> list[str]:
    """Declared graph inputs in file order: the order of a data set's values."""
    import onnx

    return [i.name for i in onnx.load_from_string(model).graph.input]


def difference(got: Any, want: Any, rtol: float, atol: float, *, values: bool = True) -> str:
    """Why two values differ: kind, dtype, shape, or (if `values`) beyond atol + rtol*|want|; empty if they agree."""
    if isinstance(want, (list, tuple)):
        if not isinstance(got, list) or len(got) != len(want):
            return f"a sequence of {len(want)} expected, got {_kind(got)}"
        parts = (difference(g, w, rtol, atol, values=values) for g, w in zip(got, want, strict=True))
        return next((f"element {i}: {why}" for i, why in enumerate(parts) if why), "")
    if want is None or got is None:
        return "" if want is got else f"{_kind(want)} expected, got {_kind(got)}"
    if not isinstance(got, np.ndarray):
        return f"{_kind(want)} expected, got {_kind(got)}"
    texts = want.dtype.kind in "OUS"
    if got.shape != want.shape or (got.dtype.kind not in "OUS" if texts else got.dtype != want.dtype):
        return f"{_kind(want)} expected, got {_kind(got)}"
    if not values:
        return ""
    if texts:
        pairs = zip(got.ravel().tolist(), want.ravel().tolist(), strict=True)
        return next((f"{w!r} expected, got {g!r}" for g, w in pairs if _text(g) != _text(w)), "")
    if got.dtype.name == "bfloat16":
        rtol = max(rtol, BFLOAT16_RTOL)
    if got.dtype.kind not in "biufc":
        got, want = got.astype(np.float32), want.astype(np.float32)
    with np.errstate(all="ignore"):
        close = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return ""
    first = np.argwhere(~close)[0]
    at = tuple(int(i) for i in first)
    return f"{int((~close).sum())} of {close.size} values differ, first at {at}: {want[at]} expected, got {got[at]}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return (
        f"a sequence of {len(value)}"
        if isinstance(value, (list, tuple))
        else "nothing"
        if value is None
        else repr(value)
    )
