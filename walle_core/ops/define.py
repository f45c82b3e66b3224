"""`OpDef` and the decorators that add one to the catalogue: an operator is defined once, here all else is derived.

Kinds (design 4.2): *atomic* is the unit that a backend implements; *transform* only moves elements and is given by
the strided regions it copies; *composite* is given by its decomposition into other operators; *control* holds graphs.

Conventions of the callables:

* ``reference(x, y=None, *, axis=0)`` gets NumPy arrays for the inputs (None where absent) and the attributes as
  keywords; it returns an array or a tuple of arrays. The signature names the inputs, the attributes and their defaults.
* ``infer(ctx)`` returns one TensorSpec per output, or None when shapes depend on data that is not constant.
* ``decompose(g, x, y=None, *, axis=0)`` gets a Builder and value names, and returns a value name or a tuple of them.
  `g.n_outputs` is the number of outputs that the node names; a decomposition may leave out the rest.
* ``regions(ctx)`` returns the list of `Region` that copies the inputs into the output; an operator with several outputs
  returns a tuple of such lists, one per output (origins always index the inputs). None means: the addresses depend on
  data that is not constant, so the node cannot be lowered. Regions of one output never overlap in it.
* ``gradient(g, at)`` gets a Builder and an `Adjoint`; it returns one gradient per input: a value name of the input's
  shape and dtype, or None where the outputs do not depend on it differentiably. Raises ValueError where there is none.
* ``fill(ctx)`` returns the number that stands in elements no region writes, or None when all are written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs

from walle_core.errors import ShapeError
from walle_core.types import DType, TensorSpec

Kind = Literal["atomic", "transform", "composite", "control"]


@attrs.frozen
class View:
    """Strided addresses: element (i, j, ...) is at offset + i*strides[0] + j*strides[1] + ... (in elements)."""

    offset: int
    strides: tuple[int, ...]


@attrs.frozen
class Region:
    """Copies dst[view] = inputs[origin][view] for all indices below `size`; any rank (paper: 3)."""

    origin: int
    size: tuple[int, ...]
    src: View
    dst: View


@attrs.frozen
class Sample:
    """One case for the conformance kit: shapes (filled from the operator's domain) or nested lists, and attributes."""

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Any] = attrs.field(factory=dict)
    dtypes: tuple[str, ...] = ()


@attrs.frozen
class OpContext:
    """What an inference or region rule may ask about one node.

    Attributes:
        op, name: operator and node name, for messages.
        inputs: spec per input; None where absent.
        attrs: attributes with the definition's defaults filled in.
        values: constant value per input (walle Tensor or array with .tolist()), None where not constant.
        n_outputs: how many outputs the node names.
    """

    op: str
    name: str
    inputs: tuple[TensorSpec | None, ...]
    attrs: Mapping[str, Any]
    values: tuple[Any, ...] = ()
    n_outputs: int = 1

    def spec(self, index: int) -> TensorSpec:
        """Spec of a required input. Raises ShapeError if it is absent."""
        if index >= len(self.inputs) or self.inputs[index] is None:
            raise self.error(f"needs an input {index}")
        return self.inputs[index]  # type: ignore[return-value]

    def has(self, index: int) -> bool:
        """True if the input is present."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def shape(self, index: int) -> tuple[int, ...]:
        """Sizes of a required input, all integers."""
        return self.spec(index).sizes

    def dtype(self, index: int) -> DType:
        """Dtype of a required input."""
        return self.spec(index).dtype

    def ints(self, index: int) -> list[int] | None:
        """A constant input as a flat list of integers; None if absent or not constant."""
        if index >= len(self.values) or self.values[index] is None:
            return None
        value = self.values[index].tolist()
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = [v for row in value for v in row]
        return [int(v) for v in value] if isinstance(value, list) else [int(value)]

    def constant(self, index: int) -> bool:
        """True if the input is present and constant."""
        return index < len(self.values) and self.values[index] is not None

    def error(self, message: str) -> ShapeError:
        """A ShapeError that names the node and its operand shapes."""
        operands = ", ".join("absent" if s is None else str(s) for s in self.inputs)
        return ShapeError(f"{self.op} {self.name!r} on ({operands}): {message}")


@attrs.frozen
class Adjoint:
    """What a gradient rule sees of the node whose gradient it writes; all names are values of the rule's Builder.

    Attributes:
        inputs, outputs: value names as the node has them; None where absent.
        grads: gradient of the result by each output; None where the result does not depend on it.
        wanted: for each input, whether its gradient is asked for; a rule may return None for the others.
        attrs: attributes with the definition's defaults filled in.
    """

    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    grads: tuple[str | None, ...]
    wanted: tuple[bool, ...]
    attrs: Mapping[str, Any]


@attrs.frozen(eq=False)
class OpDef:
    """One operator: everything the rest of Walle needs to know about it.

    Attributes:
        name: ONNX's name, or Walle's own where ONNX has none.
        kind: atomic, transform, composite or control.
        family: file-sized group: unary, binary, reduce, matmul, movement, convolution, pooling, ...
        reference: NumPy oracle; None for control flow (a composite without one is judged by its decomposition).
        infer: shape and dtype rule; None means: known only by running it.
        decompose: composite operators, and atomic ones with an `arity`.
        regions: transform only.
        fill: transform only: rule for the value of elements that no region writes (Pad); None: all are written.
        flops: elementary operations of one node, from an OpContext and its output specs (default: output elements).
        domain: interval that test inputs are drawn from.
        ulp: tolerance against the reference in float32 units in the last place of the result's scale.
        dtypes: dtypes that the conformance kit tries.
        samples: cases for the conformance kit.
        deterministic: False for random operators.
        arity: atomic operators of any number of operands only: the number that a backend must take; nodes with another
            number are decomposed into nodes with this one. 0: as the signature says.
        gradient: rule for training, of atomic operators. A transform has the one of Raster. A composite is differentiated
            through its decomposition; it has a rule only where that keeps it whole for a faster kernel (ADR 30).
        doc: one sentence.
        params: attribute names with defaults (from the signature); inspect.Parameter.empty marks a required one.
        input_names: from the signature; variadic ends with a ``*name``.
        required: how many leading inputs have no default.
    """

    name: str
    kind: Kind
    family: str
    reference: Callable[..., Any] | None = None
    infer: Callable[[OpContext], Sequence[TensorSpec] | None] | None = None
    decompose: Callable[..., Any] | None = None
    regions: Callable[[OpContext], list[Region] | tuple[list[Region], ...] | None] | None = None
    fill: Callable[[OpContext], int | float | bool | None] | None = None
    flops: Callable[[OpContext, Sequence[TensorSpec]], float] | None = None
    domain: tuple[float, float] = (-4.0, 4.0)
    ulp: float = 4
    dtypes: tuple[str, ...] = ("float32",)
    samples: tuple[Sample, ...] = ()
    deterministic: bool = True
    arity: int = 0
    gradient: Callable[..., Any] | None = None
    doc: str = ""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    input_names: tuple[str, ...] = ()
    required: int = 0
    _defaults: dict[str, Any] = attrs.field(init=False, repr=False)

    @_defaults.default
    def _attribute_defaults(self) -> dict[str, Any]:
        return {k: v for k, v in self.params.items() if v is not inspect.Parameter.empty}

    def divisible(self, operands: int) -> bool:
        """True if a node with so many operands is given by its decomposition."""
        return self.kind == "composite" or (self.arity > 0 and operands != self.arity)

    def bind(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes with defaults filled in; unknown ones (hints) are dropped."""
        bound = self._defaults.copy()
        for name, value in attributes.items():
            if name in self.params:
                bound[name] = value
        if len(bound) != len(self.params):
            absent = next(k for k in self.params if k not in bound)
            raise ShapeError(f"{self.name}: attribute {absent!r} is required")
        return bound


CATALOGUE: dict[str, OpDef] = {}


def _signature(fn: Callable[..., Any], skip: int) -> tuple[dict[str, Any], tuple[str, ...], int]:
    params: dict[str, Any] = {}
    names: list[str] = []
    required = 0
    for position, p in enumerate(inspect.signature(fn).parameters.values()):
        if position < skip:
            continue
        if p.kind is p.VAR_POSITIONAL:
            names.append("*" + p.name)
        elif p.kind is p.KEYWORD_ONLY:
            params[p.name] = p.default
        elif p.kind is not p.VAR_KEYWORD:
            names.append(p.name)
            required += p.default is p.empty
    return params, tuple(names), required


def make(name: str, kind: Kind, family: str, **fields: Any) -> OpDef:
    """A definition that is in no catalogue yet: what a plugin hands to `walle_register_operators`."""
    described = fields.get("decompose") or fields.get("reference")
    if described is not None and "params" not in fields:
        params, names, required = _signature(described, skip=1 if fields.get("decompose") else 0)
        fields |= {"params": params, "input_names": names, "required": required}
    if "doc" not in fields and described is not None:
        fields["doc"] = (inspect.getdoc(described) or "").partition("\n")[0]
    return OpDef(name=name, kind=kind, family=family, **fields)


def define(name: str, kind: Kind, family: str, **fields: Any) -> OpDef:
    """Adds an operator to the catalogue. Raises ValueError if the name is taken."""
    if name in CATALOGUE:
        raise ValueError(f"operator {name!r} is defined twice")
    op = CATALOGUE[name] = make(name, kind, family, **fields)
    return op


def atomic(name: str, family: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates the NumPy reference of an atomic operator."""
    return _decorator(name, "atomic", family, "reference", fields)


def composite(name: str, family: str, **fields: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates the decomposition of a composite operator; shapes follow from it unless `infer` is given."""
    return _decorator(name, "composite", family, "decompose", fields)


def transform(
    name: str, family: str = "movement", **fields: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates the NumPy reference of a transform; pass `infer` and `regions`."""
    return _decorator(name, "transform", family, "reference", fields)


def _decorator(
    name: str, kind: Kind, family: str, role: str, fields: dict[str, Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        define(name, kind, family, **{role: fn}, **fields)
        return fn

    return add
