"""`rank`: which installed backend would run a graph fastest, predicted and, on request, measured; and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.binding import to_tensor
from walle_core.engines import engines_for
from walle_core.errors import DeviceError, UnsupportedError, WalleError, locating
from walle_core.graph.ir import Graph
from walle_core.plan import Options, Planner, simplify
from walle_core.prediction import Choice, predict
from walle_core.search import Engine
from walle_core.session import Session
from walle_core.types import TensorSpec


@attrs.frozen
class Ranked:
    """One backend's entry in a ranking.

    Attributes:
        backend, device: who.
        predicted_s: predicted seconds of one run; infinite if it cannot run the graph.
        measured_s: median seconds of one run, None if not measured.
        own: share of nodes that run on this backend itself, the rest falls back to others.
        choices: per node of the lowered graph.
        open: nodes left out of the prediction because their shapes depend on data.
        error: why the graph cannot run; "" if it can.
    """

    backend: str
    device: str
    predicted_s: float
    measured_s: float | None = None
    own: float = 1.0
    choices: tuple[Choice, ...] = ()
    open: int = 0
    error: str = ""


@attrs.frozen
class Ranking(Sequence[Ranked]):
    """Backends, fastest first: by measured time where measured, else by predicted time.

    Attributes:
        rows: the entries.
        threads: threads per run.
        search_s: seconds that the search took: candidates, algorithms, lowering and prediction for every backend.
            Calibration and the rewriting that every backend shares (folding weights) are not in it.
    """

    rows: tuple[Ranked, ...]
    threads: int
    search_s: float

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.rows)

    def table(self) -> str:
        """The ranking as text, one line per backend."""
        lines = [f"{'backend':<12} {'predicted':>12} {'measured':>12}  {'own':>5}  device"]
        for row in self.rows:
            measured = "-" if row.measured_s is None else f"{row.measured_s * 1e3:.3f} ms"
            predicted = "-" if row.error else f"{row.predicted_s * 1e3:.3f} ms"
            lines.append(
                f"{row.backend:<12} {predicted:>12} {measured:>12}  {row.own:>4.0%}  {row.error or row.device}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The ranking as plain data."""
        return {
            "threads": self.threads,
            "search_s": self.search_s,
            "rows": [attrs.asdict(r) for r in self.rows],
        }


def bind_shapes(graph: Graph, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The graph with every input size known: from `shapes`, and 1 for symbolic sizes that are not given.

    Raises UnsupportedError if the rank of an input is not known.
    """
    specs = dict(graph.specs)
    for name in graph.inputs:
        spec = specs.get(name)
        if shapes and name in shapes and spec is not None:
            specs[name] = TensorSpec(spec.dtype, tuple(shapes[name]))
        elif spec is None or spec.shape is None:
            raise UnsupportedError(f"{graph.name}: the shape of input {name!r} is open; give it with shapes=")
        else:
            specs[name] = TensorSpec(spec.dtype, tuple(1 if isinstance(d, str) else d for d in spec.shape))
    return graph.evolve(specs=specs)


def placeholder_inputs(graph: Graph, shapes: Mapping[str, Sequence[int]] | None = None) -> dict[str, Tensor]:
    """Zeros for every input of a graph, symbolic sizes as in `bind_shapes`."""
    bound = bind_shapes(graph, shapes)
    return {n: Tensor(bound.specs[n].sizes, bound.specs[n].dtype.name) for n in bound.inputs}


def _predicted(graph: Graph, engines: Sequence[Engine]) -> Ranked:
    first = engines[0]
    try:
        found = predict(graph, engines)
    except DeviceError:
        raise
    except WalleError as error:
        return _broken(first.backend.name, first.device.name, error)
    own = sum(c.backend == first.backend.name for c in found.choices) / max(1, len(found.choices))
    return Ranked(
        first.backend.name, first.device.name, found.seconds, None, own, tuple(found.choices), found.open
    )


def _broken(backend: str, device: str, error: WalleError) -> Ranked:
    return Ranked(backend, device, float("inf"), own=0.0, error=str(error))


def _bound(
    graph: Graph, inputs: Mapping[str, Any] | None, shapes: Mapping[str, Sequence[int]] | None
) -> Graph:
    """The graph that a run with these inputs would plan; without inputs, zeros steer its control flow."""
    if inputs is None:
        bound = bind_shapes(graph, shapes)
        if any(bound.specs[n].dtype.itemsize == 0 for n in bound.inputs):
            return simplify(bound)
        inputs = placeholder_inputs(graph, shapes)
    return Planner(graph, Options(())).bind([to_tensor(inputs[n]) for n in graph.inputs])


def rank(
    graph: Graph,
    threads: int = 2,
    measure: bool = False,
    inputs: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Ranking:
    """Ranks the installed backends for a graph (design 4.3).

    Args:
        graph: what will run.
        threads: threads per run.
        measure: True also times each backend, interleaved, median of at least 5 rounds.
        inputs: arrays for measuring, whose shapes and control values also decide what is predicted; default zeros.
        shapes: sizes of inputs with open shapes; default 1 for each symbolic size.
        progress: told what is being calibrated or measured.
    """
    failed: dict[str, DeviceError] = {}
    with locating(graph.source or graph.name):
        simple, rows, search_s = _bound(graph, inputs, shapes), None, 0.0
        while rows is None:
            try:
                engines = engines_for(None, threads, measured=True, progress=progress, without=failed)
                start = time.perf_counter()
                rows = [_predicted(simple, [e, *(o for o in engines if o is not e)]) for e in engines]
                search_s = time.perf_counter() - start
            except DeviceError as error:  # costs a line, and the others are ranked without it
                if error.backend in ("", *failed):
                    raise
                failed[error.backend] = error
    rows += [_broken(e.backend, e.device, e) for e in failed.values()]
    if measure:
        feeds = dict(inputs) if inputs is not None else dict(placeholder_inputs(graph, shapes))
        rows = _measure(graph, rows, feeds, threads, progress)
    order = sorted(
        rows, key=lambda r: (bool(r.error), r.predicted_s if r.measured_s is None else r.measured_s)
    )
    return Ranking(tuple(order), threads, search_s)


def _measure(
    graph: Graph,
    rows: Sequence[Ranked],
    feeds: Mapping[str, Any],
    threads: int,
    progress: Callable[[str], None],
) -> list[Ranked]:
    sessions: dict[str, Session] = {}
    times: dict[str, list[float]] = {}
    failed: dict[str, DeviceError] = {}
    for row in rows:
        if not row.error:
            progress(f"preparing {row.backend}")
            try:
                session = Session(graph, backend=row.backend, threads=threads)
                session.run(feeds)
            except DeviceError as error:
                failed[row.backend] = error
            else:
                sessions[row.backend], times[row.backend] = session, []
    for round_ in range(5):
        for name, session in sessions.items():
            progress(f"measuring {name}, round {round_ + 1} of 5")
            end = time.perf_counter() + 0.1
            while True:
                start = time.perf_counter()
                session.run(feeds)
                times[name].append(time.perf_counter() - start)
                if time.perf_counter() >= end:
                    break
    from statistics import median  # here: brings decimal with it

    rows = [_broken(r.backend, r.device, failed[r.backend]) if r.backend in failed else r for r in rows]
    return [
        attrs.evolve(row, measured_s=median(times[row.backend])) if row.backend in times else row
        for row in rows
    ]
