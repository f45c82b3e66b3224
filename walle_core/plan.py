"""Plans: what a run of a graph does for given input shapes, made once per shapes and kept.

A graph whose shapes all follow from its inputs is one static part list (usually one native call). Where shapes depend
on data, or at control flow, the graph is split (paper: module mode): the static part before, the node itself on the
host, and the rest, planned when the shapes that it gets are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.errors import DeviceError, InputError, ModelError, UnsupportedError, blamed
from walle_core.evaluate import evaluate
from walle_core.graph.concatenation import shrink_concatenations
from walle_core.graph.control import check_control, check_trips, condition_of, trips_of
from walle_core.graph.epilogue import fuse_epilogues
from walle_core.graph.fold import fold
from walle_core.graph.footprint import check_memory, check_run
from walle_core.graph.fusion import fold_batch_norm
from walle_core.graph.inline import branch_of, inline_if
from walle_core.graph.integer import keep_integers
from walle_core.graph.ir import Graph, Node, captured, subgraphs
from walle_core.graph.lower import Lowered
from walle_core.graph.patterns import recognise
from walle_core.graph.quantized import sum_integers
from walle_core.graph.shapes import infer
from walle_core.ops import find
from walle_core.prepared import PreparedPart
from walle_core.protocols import Executable
from walle_core.search import Engine, Part, assign
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

MAX_PLANS = 32  # shapes kept per graph; the oldest plan makes room
MAX_SPECIALISED = 8  # values of control inputs kept per graph; beyond, control flow runs on the host


@attrs.frozen(eq=False)
class Options:
    """How graphs are compiled.

    Attributes:
        engines: candidates for running parts; with `forced` the first runs all that it can.
        threads, precision: as given to Session.
    """

    engines: Sequence[Engine]
    forced: bool = False
    threads: int = 1
    precision: str = "high"


def simplify(graph: Graph) -> Graph:
    """Backend-independent rewriting of a graph with known input shapes: folding, inlining, recognition, fusion."""
    graph = sum_integers(keep_integers(graph, evaluate))
    while True:
        graph = fold(infer(graph), evaluate)
        inlined = inline_if(graph)
        if inlined is graph:
            break
        graph = inlined
    graph = fold_batch_norm(graph, evaluate)
    graph = infer(shrink_concatenations(infer(recognise(graph)), evaluate))
    return infer(fuse_epilogues(graph)).pruned()


def is_barrier(node: Node, specs: Mapping[str, TensorSpec]) -> bool:
    """True if the node cannot be part of a static plan: control flow, host data, or shapes that depend on data."""
    op = find(node.op)
    if op is None or op.kind == "control" or subgraphs(node):
        return True
    return any(n and (n not in specs or not specs[n].static or specs[n].dtype.itemsize == 0)
               for n in (*node.inputs, *node.outputs))  # fmt: skip


def split(graph: Graph) -> tuple[Graph, Node | None, Graph | None]:
    """(static graph, first barrier, what is left after it); the last two are None where all is static."""
    late: set[str] = set()
    before, after = [], []
    barrier: Node | None = None
    for node in graph.nodes:
        needs = {*node.inputs} | captured(node)
        if barrier is None and is_barrier(node, graph.specs):
            barrier = node
            late.update(o for o in node.outputs if o)
        elif needs & late or is_barrier(node, graph.specs):
            after.append(node)
            late.update(o for o in node.outputs if o)
        else:
            before.append(node)
    if barrier is None:
        return graph, None, None
    made = {o for n in before for o in n.outputs if o}
    known = {*graph.inputs, *made, *graph.constants}
    wanted = [n for node in (barrier, *after) for n in (*node.inputs, *sorted(captured(node))) if n]
    wanted += graph.outputs
    outputs = tuple(dict.fromkeys(n for n in wanted if n in made))
    static = graph.evolve(nodes=tuple(before), outputs=outputs).pruned()
    reads = [n for node in after for n in (*node.inputs, *sorted(captured(node))) if n]
    rest_inputs = tuple(dict.fromkeys(n for n in (*reads, *graph.outputs) if n in {*known, *barrier.outputs}))
    rest_inputs = tuple(n for n in rest_inputs if n not in graph.constants)
    specs = {n: s for n, s in graph.specs.items() if n not in late}
    rest = graph.evolve(inputs=rest_inputs, nodes=tuple(after), specs=specs)
    return static, barrier, rest


def lower_parts(
    graph: Graph, engines: Sequence[Engine], forced: bool
) -> Iterator[tuple[Part, tuple[str, ...], tuple[str, ...], Lowered]]:
    """Assigns a graph without barriers and lowers each part: (part, its inputs, its outputs, lowered graph)."""
    if not graph.nodes:
        return
    whole = _whole(graph, engines[0]) if forced else None
    if whole is not None:
        yield whole
        return
    parts = assign(graph, engines, forced)
    for index, part in enumerate(parts):
        inputs, outputs = _interface(graph, parts, index)
        piece = graph.evolve(inputs=inputs, outputs=outputs, nodes=part.nodes).pruned()
        yield part, inputs, outputs, part.engine.lower(piece)


def _whole(graph: Graph, engine: Engine) -> tuple[Part, tuple[str, ...], tuple[str, ...], Lowered] | None:
    """The graph as one part of an engine; None if the engine lacks something."""
    part = Part(engine, graph.nodes)
    inputs, outputs = _interface(graph, [part], 0)
    try:
        return part, inputs, outputs, engine.lower(graph.evolve(inputs=inputs, outputs=outputs).pruned())
    except UnsupportedError:
        return None


def compile_order(graph: Graph, engines: Sequence[Engine], forced: bool) -> Iterator[tuple[Engine, Lowered]]:
    """The engines and lowered parts in which a graph would run."""
    for part, _, _, lowered in lower_parts(graph, engines, forced):
        yield part.engine, lowered


@attrs.frozen(eq=False)
class Known:
    """The executable of a part of which lowering left no node: its outputs are inputs and constants."""

    graph: Graph

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Inputs as they are; constants copied, as the caller may write to its outputs."""
        given = dict(zip(self.graph.inputs, inputs, strict=True))
        return [given[n] if n in given else self.graph.constants[n].copy() for n in self.graph.outputs]

    def describe(self) -> Sequence[Mapping[str, Any]]:
        """No step."""
        return ()


def compile_static(graph: Graph, options: Options) -> list[PreparedPart]:
    """Assigns, lowers and prepares a graph without barriers."""
    prepared = []
    for part, inputs, outputs, lowered in lower_parts(graph, options.engines, options.forced):
        engine = part.engine
        who = engine.backend.name, engine.device.name
        executable: Executable = Known(lowered.graph)
        if lowered.graph.nodes:
            try:
                executable = engine.backend.prepare(
                    lowered.graph, lowered.choices, options.threads, options.precision
                )
            except (DeviceError, MemoryError) as error:
                raise blamed(error, *who) from error
        count, seconds = len(lowered.graph.nodes), engine.predict(lowered)
        copies = engine.transfers(lowered.graph)
        prepared.append(PreparedPart(*who, inputs, outputs, executable, count, seconds, copies))
    return prepared


def _interface(graph: Graph, parts: Sequence[Part], index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    nodes = parts[index].nodes
    made = {o for n in nodes for o in n.outputs if o}
    inputs = dict.fromkeys(
        n for node in nodes for n in node.inputs if n and n not in made and n not in graph.constants
    )
    later = {n for part in parts[index + 1 :] for node in part.nodes for n in node.inputs} | set(
        graph.outputs
    )
    if len(parts) == 1:
        return graph.inputs, tuple(o for o in graph.outputs if o in made)
    return tuple(inputs), tuple(dict.fromkeys(o for n in nodes for o in n.outputs if o in later))


class Plan:
    """What a run does for one set of input shapes."""

    def __init__(self, graph: Graph, options: Options) -> None:
        self.graph = graph
        static, self.barrier, rest = split(graph)
        check_memory(static)
        self.parts = compile_static(static, options)
        self.rest = Planner(rest, options) if rest is not None else None
        self.host = HostNode(self.barrier, options) if self.barrier is not None else None
        whole = self.barrier is None and len(self.parts) == 1
        self._direct = self.parts[0] if whole and self.parts[0].outputs == graph.outputs else None

    @property
    def whole(self) -> PreparedPart | None:
        """The part that is all of the plan, if there is one."""
        return self._direct

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs in the graph's order."""
        if self._direct is not None:
            return self._direct.run(inputs)
        values = dict(zip(self.graph.inputs, inputs, strict=True))
        for part in self.parts:
            made = part.run([values[n] for n in part.inputs])
            values.update(zip(part.outputs, made, strict=True))
        constants = self.graph.constants
        if self.host is not None and self.rest is not None:
            scope = {**constants, **values}
            values.update(zip(self.host.node.outputs, self.host.run(scope), strict=False))
            rest = self.rest.graph
            made = self.rest.run([values[n] for n in rest.inputs])
            values.update(zip(rest.outputs, made, strict=True))
        return [values[n] if n in values else constants[n] for n in self.graph.outputs]


class Planner:
    """A graph and the plans made for it so far."""

    def __init__(self, graph: Graph, options: Options) -> None:
        self.graph, self.options = graph, options
        self._plans: dict[Any, Plan] = {}
        self._control = control_inputs(graph)

    def plan(self, inputs: Sequence[Any]) -> Plan:
        """The plan for inputs of these shapes."""
        key = self._key(inputs)
        found = self._plans.get(key)
        if found is None:
            while len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans)))
            found = self._plans[key] = Plan(self.bind(inputs), self.options)
        return found

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Plans if these shapes are new, then runs."""
        return self.plan(inputs).run(inputs)

    def _key(self, inputs: Sequence[Any]) -> Any:
        shapes = tuple((t.shape, t.dtype) if isinstance(t, Tensor) else None for t in inputs)
        return (shapes, *(inputs[i].tobytes() for i in self._specialised(inputs)))

    def _specialised(self, inputs: Sequence[Any]) -> list[int]:
        if not self._control or len(self._plans) > MAX_SPECIALISED:
            return []
        return [i for i in self._control if isinstance(inputs[i], Tensor) and inputs[i].size <= 1]

    def bind(self, inputs: Sequence[Any]) -> Graph:
        """The graph simplified for inputs of these shapes, and for the values of those that steer control flow."""
        graph = self.graph
        specs = dict(graph.specs)
        for name, value in zip(graph.inputs, inputs, strict=True):
            if isinstance(value, Tensor):
                specs[name] = TensorSpec(as_dtype(value.dtype), value.shape)
            else:
                specs.pop(name, None)
        known = {graph.inputs[i]: inputs[i].copy() for i in self._specialised(inputs)}
        bound = simplify(graph.evolve(specs=specs, constants={**graph.constants, **known}))
        return bound.evolve(inputs=graph.inputs, constants={k: v for k, v in bound.constants.items()})


def control_inputs(graph: Graph) -> list[int]:
    """Indices of integer and bool inputs that decide an If: runs are specialised to their (scalar) value."""
    wanted: set[str] = {n.inputs[0] for n in graph.nodes if n.op == "If"}
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(n for n in node.inputs if n)
    found = []
    for i, name in enumerate(graph.inputs):
        spec = graph.specs.get(name)
        if name in wanted and spec is not None and spec.dtype.kind in "iub":
            found.append(i)
    return found


class HostNode:
    """A node that runs between static parts: If and Loop over plans of their graphs, all else by the references."""

    def __init__(self, node: Node, options: Options) -> None:
        check_control(node)
        self.node, self.options = node, options
        self.graphs = {id(g): closed(g) for g in subgraphs(node)}
        self.planners = {key: Planner(graph, options) for key, graph in self.graphs.items()}

    def run(self, scope: Mapping[str, Any]) -> Sequence[Any]:
        """Outputs of the node, given all values that it may read."""
        node = self.node
        if node.op == "If":
            return self._branch(branch_of(node, condition_of(node, scope[node.inputs[0]])), (), scope)
        if node.op == "Loop":
            return self._loop(scope)
        made = evaluate_host(node, scope)
        return made

    def _branch(self, graph: Graph, arguments: Sequence[Any], scope: Mapping[str, Any]) -> Sequence[Any]:
        closed = self.graphs[id(graph)]
        own = dict(zip(graph.inputs, arguments, strict=True))
        return self.planners[id(graph)].run([own[n] if n in own else scope[n] for n in closed.inputs])

    def _loop(self, scope: Mapping[str, Any]) -> Sequence[Any]:
        node, body = self.node, self.node.attrs["body"]
        given = [scope[n] if n else None for n in (*node.inputs, "", "")[:2]]
        trip = math.inf if given[0] is None else trips_of(node, given[0])
        going = given[1] is None or condition_of(node, given[1])
        carried = [scope[n] if n else None for n in node.inputs[2:]]
        if not all(isinstance(c, Tensor) for c in carried) or len(body.outputs) - 1 > len(carried):
            return evaluate_host(node, scope)
        step = 0
        while going and step < trip:
            try:
                check_trips(step)
            except ModelError as error:
                raise ModelError(f"node {node}: {error}") from None
            arguments = [Tensor.of(step, "int64"), Tensor.of(going, "bool"), *carried]
            made = self._branch(body, arguments, scope)
            going = condition_of(node, made[0])
            carried = [t.copy() if isinstance(t, Tensor) else t for t in made[1 : 1 + len(carried)]]
            step += 1
        return carried


def closed(graph: Graph) -> Graph:
    """The graph with the outer values that it reads as further inputs."""
    outer = sorted(captured(Node("If", (), (), {"body": graph})))
    return graph.evolve(inputs=(*graph.inputs, *outer))


def evaluate_host(node: Node, scope: Mapping[str, Any]) -> Sequence[Any]:
    """Outputs of a node by the NumPy references. Raises InputError where NumPy is not to be had."""
    try:
        from walle_core.backends.reference import run_node
    except ImportError as error:
        raise InputError(f"node {node} needs NumPy on the host ({error}); install numpy") from error
    check_run(node, {n: scope[n] for n in node.inputs if n})
    outer = {name: scope[name] for name in captured(node)}
    made: Sequence[Any] = run_node(node, [scope[n] if n else None for n in node.inputs], outer)
    return made
