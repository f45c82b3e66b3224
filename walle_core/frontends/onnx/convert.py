"""GraphProto -> Graph: names, types, constants, subgraphs; calls of model-local functions are inlined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import ModelError, UnsupportedError
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.attributes import check_kind, read_attribute, text_or_bytes
from walle_core.frontends.onnx.limits import Limits
from walle_core.frontends.onnx.scope import Frame, Scope
from walle_core.frontends.onnx.tensor import TensorReader
from walle_core.frontends.onnx.types import constant_value, read_value_info, type_text
from walle_core.frontends.onnx.upgrade import NEWEST, upgrade
from walle_core.frontends.onnx.wire import MalformedError, decode
from walle_core.graph.ir import Graph, Node, captured, sorted_nodes
from walle_core.types import TensorSpec

STANDARD = ("", "ai.onnx.ml")  # domains whose attribute types are known


@attrs.frozen(eq=False)
class Function:
    """A FunctionProto: formal inputs, outputs and attributes, and its body."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    defaults: tuple[memoryview, ...]
    nodes: tuple[memoryview, ...]
    opsets: Mapping[str, int]

    @property
    def nbytes(self) -> int:
        """Size of the body in the file."""
        return sum(map(len, self.nodes))


class Converter:
    """Converts the graphs of one model.

    Args:
        source: the file, for messages.
        limits: ceilings.
        tensors: decodes tensors.
        functions: model-local functions by (domain, name, overload).
        known: tells whether an operator name is in the catalogue and checks the node; raises otherwise.
    """

    def __init__(
        self, source: str, limits: Limits, tensors: TensorReader,
        functions: Mapping[tuple[str, str, str], Function], known: Callable[[Node], None],
    ) -> None:  # fmt: skip
        self.source = source
        self.limits = limits
        self.tensors = tensors
        self.functions = functions
        self.known = known
        self._nodes = 0
        self._inlined = 0
        self._names: set[str] = set()

    def graph(self, view: memoryview, frame: Frame, parent: Scope | None = None) -> Graph:
        """A Graph; subgraphs may read values of the scopes around. Raises ModelError, UnsupportedError."""
        if frame.depth > self.limits.max_depth:
            raise ModelError(
                f"{frame.where}: graphs and functions are nested deeper than {self.limits.max_depth}"
            )
        fields = decode(view, s.GRAPH)
        scope = Scope(frame.where, parent, self.known)
        for tensor in fields["initializer"]:
            name, value = self.tensors.read(tensor, frame.where)
            self._constant(scope, frame.resolve(name), value)
        for tensor in fields["sparse_initializer"]:
            name, value = self.tensors.read_sparse(tensor, frame.where)
            self._constant(scope, frame.resolve(name), value)
        for info in fields["value_info"]:
            name, spec = self._value(info, frame)
            if spec is not None:
                scope.specs.setdefault(name, spec)
        inputs = self._inputs(fields["input"], scope, frame, main=parent is None)
        outputs = []
        for info in fields["output"]:
            name, spec = self._value(info, frame)
            outputs.append(name)
            if spec is not None:
                scope.specs.setdefault(name, spec)
        self._convert_nodes(fields["node"], scope, frame)
        if clash := [n for n in inputs if n in scope.constants]:
            raise ModelError(f"{frame.where}: value {clash[0]!r} is defined twice")
        nodes = self._sorted(scope, inputs, main=parent is None)
        graph = Graph(
            tuple(inputs), tuple(outputs), nodes, scope.constants, {}, fields["name"] or "graph", self.source
        )
        if parent is None:
            made = {*inputs, *scope.constants, *(o for n in nodes for o in n.outputs)}
            if absent := [o for o in outputs if o not in made]:
                raise ModelError(f"{frame.where}: output {absent[0]!r} is made by no node")
        return graph.evolve(specs=_trusted(scope, inputs, graph))

    def _value(self, view: memoryview, frame: Frame) -> tuple[str, TensorSpec | None]:
        name, spec = read_value_info(view, self.tensors, frame.where)
        return frame.resolve(name), spec

    def _inputs(self, views: Sequence[memoryview], scope: Scope, frame: Frame, main: bool) -> list[str]:
        inputs: list[str] = []
        seen: set[str] = set()
        for info in views:
            name, spec = self._value(info, frame)
            if not name or name in seen:
                raise ModelError(
                    f"{frame.where}: graph input {name!r} is {'defined twice' if name else 'without name'}"
                )
            seen.add(name)
            if name in scope.constants:  # an initializer is its default
                continue
            if spec is None and main:
                raise ModelError(f"{frame.where}: graph input {name!r} has no type")
            inputs.append(name)
            if spec is not None:
                scope.specs[name] = spec
        return inputs

    def _constant(self, scope: Scope, name: str, value: Any) -> None:
        if not name:
            raise ModelError(f"{scope.where}: a constant has no name")
        scope.add_constant(name, value)

    def _sorted(self, scope: Scope, inputs: Sequence[str], main: bool) -> tuple[Node, ...]:
        known = scope.known(inputs)
        if not main:  # what is not made here comes from the graph around, which checks it in its turn
            made = {o for n in scope.nodes for o in n.outputs}
            known |= {i for n in scope.nodes for i in (*n.inputs, *captured(n)) if i not in made}
        return sorted_nodes(scope.nodes, known, scope.where)

    def _convert_nodes(self, views: Sequence[memoryview], scope: Scope, frame: Frame) -> None:
        self._nodes += len(views)
        if self._nodes > self.limits.max_nodes:
            raise ModelError(f"{frame.where}: more than {self.limits.max_nodes} nodes")
        for position, view in enumerate(views):
            try:
                self._node(view, position, scope, frame)
            except MalformedError as error:
                raise ModelError(f"{frame.where}: node {position} is damaged: {error}") from None

    def _node(self, view: memoryview, position: int, scope: Scope, frame: Frame) -> None:
        fields = decode(view, s.NODE)
        op, domain = fields["op_type"], fields["domain"]
        domain = "" if domain == "ai.onnx" else domain
        label = self._unique(frame.prefix + (fields["name"] or f"{op}_{position}"))
        where = f"{frame.where}: node {op} {label!r}"
        if not op:
            raise ModelError(f"{where}: no operator is named")
        if not fields["output"]:
            raise ModelError(f"{where}: has no output")
        for name in (op, domain, *fields["input"], *fields["output"]):
            if len(name) > self.limits.max_name:
                raise ModelError(
                    f"{where}: a name has {len(name)} characters, at most {self.limits.max_name} are taken"
                )
        function = self.functions.get((domain, op, fields["overload"]))
        attributes = self._attributes(fields["attribute"], where, domain, function is None, scope, frame)
        inputs = [frame.resolve(n) for n in fields["input"]]
        outputs = [frame.resolve(n) for n in fields["output"]]
        if function is not None:
            self._inline(function, inputs, outputs, attributes, label, where, scope, frame)
            return
        version = frame.opsets.get(domain)
        if version is None:
            have = ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in frame.opsets.items()) or "none"
            domain = domain or "ai.onnx"
            raise ModelError(
                f"{where}: the model imports no operator set of domain {domain!r}; imported: {have}"
            )
        if op == "Constant" and not domain:
            if len(outputs) != 1 or not outputs[0]:
                raise ModelError(f"{where}: needs one output")
            self._constant(scope, outputs[0], constant_value(attributes, where))
            return
        node = Node(f"{domain}.{op}" if domain else op, tuple(inputs), tuple(outputs), attributes, label)
        try:
            for made in [node] if domain else upgrade(node, version, scope):
                scope.add(made)
        except UnsupportedError as error:
            raise UnsupportedError(
                f"{error} (domain {domain or 'ai.onnx'!r}, operator set {version})"
            ) from None
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ModelError(f"{where}: operands or attributes do not fit the operator ({error})") from error

    def _unique(self, name: str) -> str:
        if len(name) > self.limits.max_name:
            name = name[: self.limits.max_name // 2]
        base, count = name, len(self._names)
        while name in self._names:
            name = f"{base}_{count}"
            count += 1
        self._names.add(name)
        return name

    def _attributes(
        self, views: Sequence[memoryview], where: str, domain: str, check: bool, scope: Scope, frame: Frame
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for view in views:
            name, reference, letter, value = read_attribute(view)
            if name in found:
                raise ModelError(f"{where}: attribute {name!r} is given twice")
            if reference:
                if frame.attributes is None:
                    raise ModelError(
                        f"{where}: attribute {name!r} refers to {reference!r} outside a function"
                    )
                if reference in frame.attributes:
                    found[name] = frame.attributes[reference]
                continue
            if check and domain in STANDARD:
                check_kind(name, letter, where)
            found[name] = self._attribute(letter, value, f"{where}: attribute {name!r}", scope, frame)
        return found

    def _attribute(self, letter: str, value: Any, where: str, scope: Scope, frame: Frame) -> Any:
        if letter.isupper():
            return tuple(self._attribute(letter.lower(), v, where, scope, frame) for v in value)
        if letter == "s":
            return text_or_bytes(value)
        if letter == "t":
            return self.tensors.read(value, where)[1]
        if letter == "x":
            return self.tensors.read_sparse(value, where)[1]
        if letter == "y":
            return type_text(value, self.limits.max_depth)
        if letter == "g":
            return self.graph(value, attrs.evolve(frame, where=where, depth=frame.depth + 1), scope)
        return value

    def _inline(
        self, function: Function, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any],
        label: str, where: str, scope: Scope, frame: Frame,
    ) -> None:  # fmt: skip
        """Puts a function's body in place of a call of it."""
        if frame.depth >= self.limits.max_depth:
            raise ModelError(f"{where}: functions call each other deeper than {self.limits.max_depth}")
        self._inlined += function.nbytes
        if self._inlined > self.limits.max_inlined_bytes:
            raise ModelError(
                f"{where}: inlined functions take more than {self.limits.max_inlined_bytes} bytes"
            )
        if len(inputs) > len(function.inputs) or len(outputs) > len(function.outputs):
            raise ModelError(f"{where}: more inputs or outputs than function {function.name!r} has")
        mapping = dict.fromkeys(function.inputs, "")
        mapping |= dict(zip(function.inputs, inputs, strict=False))
        passed = []
        for formal, actual in zip(function.outputs, outputs, strict=False):
            if formal in mapping:
                passed.append((formal, actual))
            elif actual:
                mapping[formal] = actual
        bound = {}
        body = Frame(
            function.opsets, f"{where}: function {function.name!r}", f"{label}/", mapping, {}, frame.depth + 1
        )
        for view in function.defaults:
            name, _, letter, value = read_attribute(view)
            bound[name] = self._attribute(letter, value, where, scope, body)
        bound |= {k: v for k, v in attributes.items() if k in function.attributes or k in bound}
        body.attributes = bound
        self._convert_nodes(function.nodes, scope, body)
        for formal, actual in passed:
            if actual:
                name = self._unique(f"{label}/{formal}")
                scope.add(Node("Identity", (mapping[formal],), (actual,), {}, name))


def _trusted(scope: Scope, inputs: Sequence[str], graph: Graph) -> dict[str, TensorSpec]:
    """Specs that a run may rely on: shapes of inputs and constants; of the rest, which the file only claims, dtypes."""
    sure = {*inputs, *scope.constants}
    made = {o for n in graph.nodes for o in n.outputs}
    return {
        name: spec if name in sure else attrs.evolve(spec, shape=None)
        for name, spec in scope.specs.items()
        if name in sure or name in made
    }


def read_opsets(views: Sequence[memoryview], ir_version: int, where: str) -> dict[str, int]:
    """Domain -> version. Raises ModelError, or UnsupportedError for versions that are too new."""
    opsets: dict[str, int] = {}
    for view in views:
        fields = decode(view, s.OPERATOR_SET)
        domain = "" if fields["domain"] == "ai.onnx" else fields["domain"]
        opsets[domain] = fields["version"]
    if not views and ir_version < 3:
        opsets[""] = 1
    version = opsets.get("", 1)
    if version > NEWEST:
        raise UnsupportedError(
            f"{where}: operator set {version} of ai.onnx is newer than {NEWEST}; export the model with {NEWEST} or older,"
            " or update walle-core"
        )
    if version < 1:
        raise ModelError(f"{where}: operator set {version} of ai.onnx does not exist")
    return opsets
