"""Test cases from the operator definitions: a new operator is tested on every backend without a new test."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.arrays import to_array, to_tensor
from walle_core.backends.interpreter import evaluate
from walle_core.errors import ModelError, WalleError
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node
from walle_core.ops import catalogue
from walle_core.ops.define import OpDef, Sample
from walle_core.ops.numpy_lazy import np
from walle_core.types import DTYPES, TensorSpec


@attrs.frozen(eq=False)
class Case:
    """One node with its inputs.

    Attributes:
        name: unique; made of operator, dtype, shapes and attributes.
        op: the operator.
        graph: one node; lists of a sample are its constants, all else are inputs.
        feeds: input name -> array.
        static: False if the output shapes depend on data: such a node runs on the host, whatever the backend.
    """

    name: str
    op: OpDef
    graph: Graph
    feeds: Mapping[str, Any]
    static: bool = True

    @property
    def node(self) -> Node:
        """The node."""
        return self.graph.nodes[0]

    def tensors(self) -> dict[str, Tensor]:
        """The inputs as Tensors over the same memory."""
        return {name: to_tensor(value) for name, value in self.feeds.items()}

    def expected(self) -> list[Any]:
        """What the definition computes: in float64 where the operands are float32, so that its own rounding is not
        held against a backend.
        """
        plain = evaluate(self.graph, self.feeds)
        wide = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in self.feeds.items()}
        if not any(v.dtype == np.float64 for v in wide.values()) or self.op.family in NARROW:
            return plain
        constants = {n: _widened(t) for n, t in self.graph.constants.items()}
        try:
            exact = evaluate(self.graph.evolve(constants=constants), wide)
        except WalleError:  # a definition for float32 only
            return plain
        same = [(a.shape, a.dtype.kind) == (b.shape, b.dtype.kind) for a, b in zip(plain, exact, strict=True)]
        with np.errstate(all="ignore"):
            return [b.astype(a.dtype) for a, b in zip(plain, exact, strict=True)] if all(same) else plain


# Their results jump where an operand is rounded, or depend on the bits of the operands.
NARROW = frozenset({"quantize", "cast", "tensor", "random"})


def _widened(tensor: Any) -> Any:
    array = np.asarray(tensor)
    return to_tensor(array.astype(np.float64)) if array.dtype == np.float32 else tensor


def cases(op: OpDef) -> Iterator[Case]:
    """All cases of an operator: its samples, each in every dtype that the sample leaves open.

    Raises ModelError if a sample does not fit the operator's own rule.
    """
    for index, sample in enumerate(op.samples):
        open_ = [d for d in op.dtypes if not sample.dtypes] or [""]
        for dtype in open_:
            yield _case(op, sample, dtype, index)


def _case(op: OpDef, sample: Sample, dtype: str, index: int) -> Case:
    kinds = [sample.dtypes[i] if i < len(sample.dtypes) else "" for i in range(len(sample.inputs))]
    shapes = "_".join(
        "x".join(map(str, s)) or "scalar" if isinstance(s, tuple) else "list" for s in sample.inputs
    )
    attributes = "-".join(
        f"{k}={v}".replace(" ", "") for k, v in sample.attrs.items() if not isinstance(v, Graph)
    )
    name = "-".join(
        part for part in (op.name, str(index), dtype or kinds[0] if kinds else "", shapes, attributes) if part
    )
    rng = np.random.RandomState(zlib.crc32(name.encode()))  # the same values in every NumPy version
    feeds: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    names: list[str] = []
    for i, (given, kind) in enumerate(zip(sample.inputs, kinds, strict=True)):
        if given is None:
            names.append("")
            continue
        names.append(f"x{i}")
        if isinstance(given, tuple):
            feeds[f"x{i}"] = draw(rng, given, kind or dtype or "float32", op.domain)
        else:
            constants[f"x{i}"] = to_tensor(np.asarray(given, kind or _list_dtype(given)))
    if op.kind == "atomic":  # an atomic operator is tested with run-time operands wherever its shapes allow
        moved = {n: np.asarray(t) for n, t in constants.items()}
        if specs := _infer(op, sample, names, {**feeds, **moved}, {}):
            return _finish(name, op, sample, names, {**feeds, **moved}, {}, specs)
    specs = _infer(op, sample, names, feeds, constants)
    if specs is None or any(s is None or not s.static for s in specs):
        return _dynamic(name, op, sample, names, {**feeds, **{n: to_array(t) for n, t in constants.items()}})
    return _finish(name, op, sample, names, feeds, constants, specs)


def _list_dtype(value: Any) -> str:
    kind = np.asarray(value).dtype.kind
    return {"b": "bool", "f": "float32", "U": "object"}.get(kind, "int64")


def draw(rng: Any, shape: tuple[int, ...], dtype: str, domain: tuple[float, float]) -> Any:
    """An array of the dtype, filled from the domain."""
    kind = DTYPES[dtype].kind
    low, high = domain
    if kind == "b":
        return rng.rand(*shape) < 0.5 if shape else np.asarray(rng.rand() < 0.5)
    if kind in "iu":
        low = max(low, 0) if kind == "u" else low
        return np.asarray(
            rng.randint(int(np.ceil(low)), max(int(np.ceil(low)), int(high)) + 1, shape)
        ).astype(dtype)
    values = np.asarray(rng.uniform(low, high, shape))
    if DTYPES[dtype].format is None:
        import ml_dtypes

        return values.astype(getattr(ml_dtypes, dtype))
    return values.astype(dtype)


def _specs(values: Mapping[str, Any]) -> dict[str, TensorSpec]:
    tensors = {n: v if isinstance(v, Tensor) else to_tensor(v) for n, v in values.items()}
    return {
        n: TensorSpec(DTYPES[t.dtype], tuple(t.shape)) for n, t in tensors.items() if isinstance(t, Tensor)
    }


def _infer(
    op: OpDef, sample: Sample, names: list[str], feeds: Mapping[str, Any], constants: Mapping[str, Any]
) -> list[TensorSpec] | None:
    known = {**_specs(feeds), **_specs(constants)}
    try:
        found = infer_node(Node(op.name, tuple(names), ("y0",), sample.attrs, "node"), known, constants)
    except WalleError as error:
        if not constants and op.kind == "atomic":
            return None
        raise ModelError(f"sample {sample} of {op.name}: {error}") from error
    return list(found) if found is not None else None


def _finish(
    name: str, op: OpDef, sample: Sample, names: list[str], feeds: dict[str, Any], constants: dict[str, Any],
    specs: list[TensorSpec],
) -> Case:  # fmt: skip
    specs = specs[
        : _count(op, sample, names, {**feeds, **{n: to_array(t) for n, t in constants.items()}}, len(specs))
    ]
    outputs = tuple(f"y{i}" for i in range(len(specs)))
    node = Node(op.name, tuple(names), outputs, dict(sample.attrs), "node")
    known = {**_specs(feeds), **_specs(constants), **dict(zip(outputs, specs, strict=True))}
    graph = Graph(tuple(n for n in names if n in feeds), outputs, (node,), constants, known, op.name)
    return Case(name, op, graph, feeds)


def _count(op: OpDef, sample: Sample, names: list[str], feeds: Mapping[str, Any], default: int) -> int:
    """How many outputs the definition makes."""
    if op.reference is None:
        return default
    made = op.reference(*[feeds[n] if n else None for n in names], **op.bind(sample.attrs))
    return len(made) if isinstance(made, tuple) else 1


def _dynamic(name: str, op: OpDef, sample: Sample, names: list[str], feeds: dict[str, Any]) -> Case:
    if op.reference is None:
        raise ModelError(
            f"sample {name}: neither are its output shapes known nor is there a reference that makes them"
        )
    outputs = tuple(f"y{i}" for i in range(_count(op, sample, names, feeds, 1)))
    node = Node(op.name, tuple(names), outputs, dict(sample.attrs), "node")
    graph = Graph(tuple(n for n in names if n), outputs, (node,), {}, _specs(feeds), op.name)
    return Case(name, op, graph, feeds, static=False)


def atomic_cases() -> Iterator[Case]:
    """Static cases of every deterministic atomic operator that has samples."""
    for op in catalogue().values():
        if op.kind == "atomic" and op.deterministic:
            yield from (c for c in cases(op) if c.static)


def derived_cases() -> Iterator[Case]:
    """Cases of every deterministic composite and transform operator that has samples, and those of atomic operators
    whose output shapes depend on data.
    """
    for op in catalogue().values():
        if op.kind != "control" and op.deterministic:
            yield from (c for c in cases(op) if op.kind != "atomic" or not c.static)
