"""Runs a Graph node by node with the operators' NumPy references; shapes are whatever the arrays have.

A composite without a reference is decomposed from the shapes at hand and its parts are run. Subgraphs of control flow
read values of the enclosing scopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from walle_core.backends.arrays import describe, dtype_name, spec_of, to_array, to_tensor
from walle_core.errors import BackendError, InputError, UnsupportedError, WalleError
from walle_core.graph.control import check_control
from walle_core.graph.decompose import decompose_node
from walle_core.graph.footprint import check_run
from walle_core.graph.ir import Graph, Node, captured
from walle_core.ops import find
from walle_core.ops.define import OpDef
from walle_core.ops.numpy_lazy import np

Step = Callable[[dict[str, Any]], Sequence[Any]]
MAX_DEPTH = (
    64  # nested subgraphs and decompositions; a definition that refers to itself would recurse for ever
)


def evaluate(graph: Graph, feeds: Mapping[str, Any], outer: Mapping[str, Any] | None = None) -> list[Any]:
    """Runs a graph once.

    Args:
        graph: any graph; no specs are needed.
        feeds: input name -> ndarray, Tensor, list of these (a sequence) or None (an empty optional).
        outer: values of the enclosing scope, for a subgraph.

    Returns:
        One value per graph output, in order: ndarray, list or None.

    Raises:
        InputError: an input is missing.
        UnsupportedError: a node's operator has neither a reference nor a decomposition.
        BackendError: a reference failed; names the node and its operands.
    """
    return Interpreter(graph).run(feeds, outer)


class Interpreter:
    """A graph prepared for `run`: attributes bound, constants converted, last use of each value known."""

    def __init__(self, graph: Graph, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise BackendError(f"{graph.name}: subgraphs or decompositions nest deeper than {MAX_DEPTH}")
        self.graph = graph
        self.depth = depth
        self.constants = {name: to_array(value) for name, value in graph.constants.items()}
        self.captured: set[str] = set()
        self.steps: list[tuple[Node, Step, tuple[str, ...]]] = []
        keep = {*graph.outputs, *self.constants}
        seen: set[str] = set(keep)
        known = {*graph.inputs, *self.constants, *(o for n in graph.nodes for o in n.outputs)}
        self.captured.update(n for n in graph.outputs if n not in known)
        for node in reversed(graph.nodes):
            uses = {n for n in node.inputs if n} | captured(node)
            self.captured |= uses - known
            dead = {o for o in node.outputs if o} - seen
            drop = tuple((uses - seen - self.captured) | dead)
            seen |= uses
            self.steps.append((node, self._step(node), drop))
        self.steps.reverse()

    def run(self, feeds: Mapping[str, Any], outer: Mapping[str, Any] | None = None) -> list[Any]:
        """As `evaluate`."""
        env: dict[str, Any] = {}
        for name in self.captured:
            if outer is None or name not in outer:
                raise InputError(f"{self.graph.name}: nothing defines value {name!r}")
            env[name] = outer[name]
        env.update(self.constants)
        for name in self.graph.inputs:
            if name in feeds:
                env[name] = to_array(feeds[name])
            elif name not in self.constants:
                raise InputError(
                    f"{self.graph.name}: input {name!r} is missing; it needs {', '.join(self.graph.inputs)}"
                )
        for name in feeds:
            if name in self.constants:  # an input with a default
                env[name] = to_array(feeds[name])
        with np.errstate(all="ignore"):
            for node, step, drop in self.steps:
                results = step(env)
                for name, value in zip(node.outputs, results, strict=False):
                    if name:
                        env[name] = value
                for name in drop:
                    env.pop(name, None)
        try:
            return [env[name] for name in self.graph.outputs]
        except KeyError as error:
            raise BackendError(f"{self.graph.name}: nothing made the output {error}") from error

    def _step(self, node: Node) -> Step:
        op = find(node.op)
        if op is None:
            raise UnsupportedError(
                f"node {node}: operator {node.op!r} is not in the catalogue; install a plugin that has it"
            )
        if op.kind == "control":
            return guarded(node, self._control(node, op))
        if op.reference is not None:
            known = all(o in self.graph.specs and self.graph.specs[o].static for o in node.outputs if o)
            return guarded(node, called(node, op) if known else _measured(node, called(node, op)))
        if op.decompose is not None:
            return guarded(node, self._decomposed(node, op))
        raise UnsupportedError(
            f"node {node}: operator {node.op!r} has neither a reference nor a decomposition"
        )

    def _decomposed(self, node: Node, op: OpDef) -> Step:
        def run(env: dict[str, Any]) -> Sequence[Any]:
            present = {n: env[n] for n in node.inputs if n}
            specs = {n: spec_of(v) for n, v in present.items() if isinstance(v, np.ndarray)}
            values = {n: to_tensor(v) for n, v in present.items()}
            part = decompose_node(node, op, specs, values)
            inner = Graph(tuple(present), part.results, part.nodes, part.constants, part.specs, f"{node}")
            return Interpreter(inner, self.depth + 1).run(present)

        return run

    def _control(self, node: Node, op: OpDef) -> Step:
        from walle_core.backends.control import CONTROL

        if node.op not in CONTROL:
            raise UnsupportedError(f"node {node}: control flow {node.op!r} cannot be interpreted")
        check_control(node)
        attributes = op.bind(node.attrs)
        bodies = {k: Interpreter(v, self.depth + 1) for k, v in attributes.items() if isinstance(v, Graph)}
        plain = {k: v for k, v in attributes.items() if k not in bodies}
        execute = CONTROL[node.op]

        def run(env: dict[str, Any]) -> Sequence[Any]:
            operands = [env[n] if n else None for n in node.inputs]

            def call(name: str, *arguments: Any) -> list[Any]:
                body = bodies[name]
                if len(arguments) != len(body.graph.inputs):
                    raise BackendError(f"{name} takes {len(body.graph.inputs)} inputs, not {len(arguments)}")
                return body.run(dict(zip(body.graph.inputs, arguments, strict=True)), env)

            specs = {k: [b.graph.specs.get(o) for o in b.graph.outputs] for k, b in bodies.items()}
            return execute(call, specs, operands, plain)

        return run


def guarded(node: Node, step: Step) -> Step:
    """Turns whatever a step raises into a WalleError that names the node."""

    def run(env: dict[str, Any]) -> Sequence[Any]:
        try:
            return _complete(node, step(env))
        except WalleError as error:
            if node.name and repr(node.name) in str(error):
                raise
            raise type(error)(f"node {node}: {error}") from error
        except Exception as error:
            operands = ", ".join(describe(env[n]) if n in env else "absent" for n in node.inputs)
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            raise BackendError(
                f"node {node}: the reference failed on ({operands}): {what}; check operands and attributes"
            ) from error

    return run


def called(node: Node, op: OpDef) -> Step:
    """Calls the reference of a node on its operands."""
    assert op.reference is not None
    reference = op.reference
    attributes = {k: to_array(v) if hasattr(v, "__array__") else v for k, v in op.bind(node.attrs).items()}
    inputs = node.inputs

    def run(env: dict[str, Any]) -> Sequence[Any]:
        made = reference(*[env[n] if n else None for n in inputs], **attributes)
        return [as_value(v) for v in made] if isinstance(made, tuple) else (as_value(made),)

    return run


def _complete(node: Node, results: Sequence[Any]) -> Sequence[Any]:
    """The results, of which there must be one for each output that is named."""
    if any(node.outputs[len(results) :]):
        raise BackendError(f"makes {len(results)} outputs, but {len(node.outputs)} are named")
    return results


def _measured(node: Node, step: Step) -> Step:
    """The step behind a look at what its outputs would take: NumPy checks neither overflow nor memory everywhere."""

    def run(env: dict[str, Any]) -> Sequence[Any]:
        present = {n: env[n] for n in node.inputs if n and isinstance(env[n], np.ndarray)}
        check_run(node, {n: to_tensor(v) for n, v in present.items()})
        return step(env)

    return run


def as_value(value: Any) -> Any:
    """NumPy scalars and Python numbers as arrays; arrays, sequences and empties as they are."""
    if value is None or isinstance(value, (np.ndarray, list)):
        return value
    array = np.asarray(value)
    dtype_name(array)
    return array
