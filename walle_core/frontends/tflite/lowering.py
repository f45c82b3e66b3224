"""Operators of a TFLite graph -> nodes. Each rule (`lowers`) sees one operator as a `Call` and works on plain numbers.

A quantised tensor is stored as integers between operators; a rule reads it through DequantizeLinear and writes it through
QuantizeLinear. Whether an operator between the two runs on integers is then one decision, the engine's (graph.integer), and
no rule exists twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.frontends.tflite import schema as s
from walle_core.frontends.tflite.flatbuffer import DamagedError
from walle_core.frontends.tflite.model import Model, Operator, TensorInfo
from walle_core.graph.ir import Node
from walle_core.ops.element_types import number_of
from walle_core.types import DType, TensorSpec
from walle_core.types import dtype as as_dtype

QUANTISED = ("int8", "uint8", "int16", "int32", "int4", "int64")
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # permutations of an image to channels first and back
LIMITS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
Rule = Callable[["Call"], None]
RULES: dict[str, Rule] = {}


class Refused(Exception):
    """A rule cannot express an operator; collected, so that all of a file are reported at once."""


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for operators of the schema."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


class Lowering:
    """The nodes and constants made so far.

    Args:
        model: what is lowered.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[Node] = []
        self.constants: dict[str, Any] = {}
        self.specs: dict[str, TensorSpec] = {}
        self._taken = {t.name for t in model.tensors}
        self._real: dict[int, str] = {}
        self._count = 0

    def fresh(self, stem: str) -> str:
        """A name that no value has."""
        self._count += 1
        name = f"{stem}.{self._count}"
        while name in self._taken:
            self._count += 1
            name = f"{stem}.{self._count}"
        return name

    def constant(self, name: str, value: Tensor) -> str:
        """Adds a constant under a name, once."""
        if name not in self.constants:
            self.constants[name] = value
            self.specs[name] = TensorSpec(as_dtype(value.dtype), tuple(value.shape))
        return name

    def const(self, value: Any, dtype: str) -> str:
        """Adds a constant from a number or list."""
        return self.constant(self.fresh("const"), Tensor.of(value, dtype))

    def op(self, op: str, *inputs: str, outputs: int | Sequence[str] = 1, **attrs: Any) -> Any:
        """Appends a node; its output, or a tuple of outputs if it has several."""
        names = tuple(self.fresh(op) for _ in range(outputs)) if isinstance(outputs, int) else tuple(outputs)
        operands = list(inputs)
        while operands and not operands[-1]:
            operands.pop()
        kept = {k: v for k, v in attrs.items() if v is not None}
        self.nodes.append(Node(op, tuple(operands), names, kept, self.fresh(f"node.{op}")))
        return names[0] if len(names) == 1 else names

    def stored(self, index: int) -> str:
        """A tensor as it is stored."""
        tensor = self.model.tensors[index]
        return self.constant(tensor.name, tensor.constant()) if tensor.data is not None else tensor.name

    def parameters(self, tensor: TensorInfo) -> tuple[str, str]:
        """Constants with scale and zero point of a quantised tensor."""
        q = tensor.quantisation
        assert q is not None
        many = len(q.scale) > 1
        kind = tensor.spec.dtype.name
        try:
            zero = Tensor.of(list(q.zero) if many else q.zero[0], kind)
        except InputError as error:
            raise Refused(f"the zero point of {tensor.name!r} does not fit {kind}") from error
        scale = Tensor.of(list(q.scale) if many else q.scale[0], "float32")
        return self.constant(f"{tensor.name}:scale", scale), self.constant(f"{tensor.name}:zero_point", zero)

    def real(self, index: int) -> str:
        """A tensor's numbers: dequantised if it is quantised."""
        if index not in self._real:
            tensor, name = self.model.tensors[index], self.stored(index)
            if is_quantised(tensor):
                scale, zero = self.parameters(tensor)
                if tensor.spec.dtype.name == "int64":  # a bias beside 16-bit activations; its zero point is 0
                    name = self.op("Mul", self.op("Cast", name, to=number_of(as_dtype("float32"))), scale)
                else:
                    axis = tensor.quantisation.axis if tensor.quantisation else 0
                    name = self.op("DequantizeLinear", name, scale, zero, axis=axis)
            self._real[index] = name
        return self._real[index]

    def first(self, index: int) -> str:
        """An image tensor's numbers with channels first. Integers are moved before they are dequantised."""
        tensor = self.model.tensors[index]
        if not is_quantised(tensor) or tensor.quantisation is None or len(tensor.quantisation.scale) > 1:
            return str(self.op("Transpose", self.real(index), perm=FIRST))
        moved = self.op("Transpose", self.stored(index), perm=FIRST)
        return str(self.op("DequantizeLinear", moved, *self.parameters(tensor), axis=0))

    def kernel(self, index: int, perm: tuple[int, ...]) -> str:
        """A weight's numbers, permuted as (0, 3, 1, 2) or (3, 0, 1, 2) of a tensor whose size 0 is then 1 or kept.

        Constant bytes are moved here, so that integer operators find a constant.
        """
        tensor = self.model.tensors[index]
        q = tensor.quantisation
        if tensor.data is None or not is_quantised(tensor) or q is None or tensor.spec.dtype.itemsize != 1:
            return str(self.op("Transpose", self.real(index), perm=perm))
        outer, height, width, depth = tensor.spec.sizes
        if perm[0] == 3 and outer != 1:
            return str(self.op("Transpose", self.real(index), perm=perm))
        moved = channels_first(tensor.data, outer, height * width, depth)
        shape = tuple(tensor.spec.sizes[a] for a in perm)
        name = self.constant(f"{tensor.name}:first", Tensor.wrap(moved, tensor.spec.dtype.name, shape))
        return str(self.op("DequantizeLinear", name, *self.parameters(tensor), axis=perm.index(q.axis)))

    def last(self, index: int, value: str) -> None:
        """Stores an image with channels first in a tensor that has them last; quantised before it is moved."""
        tensor = self.model.tensors[index]
        moved = self.op("Transpose", self.encoded(tensor, value), perm=LAST, outputs=[tensor.name])
        self.specs[moved] = tensor.spec

    def encoded(self, tensor: TensorInfo, value: str) -> str:
        """Numbers as a tensor stores them."""
        if not is_quantised(tensor):
            return value
        if tensor.quantisation is not None and len(tensor.quantisation.scale) > 1:
            raise Refused(f"the result {tensor.name!r} has a scale per channel")
        if tensor.spec.dtype.name not in ("int8", "uint8", "int16"):
            raise Refused(f"the result {tensor.name!r} is quantised to {tensor.spec.dtype}")
        return str(self.op("QuantizeLinear", value, *self.parameters(tensor)))

    def result(self, index: int, value: str) -> None:
        """Stores numbers in a tensor, quantised if it is."""
        tensor = self.model.tensors[index]
        self.op("Identity", self.encoded(tensor, value), outputs=[tensor.name])
        self.specs[tensor.name] = tensor.spec

    def lower(self, operator: Operator) -> None:
        """Appends the nodes of an operator. Raises Refused."""
        rule = RULES.get(operator.name)
        if rule is None:
            raise Refused("Walle does not have it")
        try:
            rule(Call(self, operator))
        except DamagedError:
            raise
        except (
            ValueError,
            IndexError,
            TypeError,
            ZeroDivisionError,
        ) as error:  # a rank or a count that it cannot have
            raise Refused(f"its inputs, outputs and options do not fit ({error})") from error


def is_quantised(tensor: TensorInfo) -> bool:
    """True if a tensor's integers stand for real numbers."""
    return tensor.quantisation is not None and tensor.spec.dtype.name in QUANTISED


def channels_first(data: memoryview, outer: int, positions: int, channels: int) -> memoryview:
    """Bytes of [outer, positions, channels] as [outer, channels, positions]."""
    if positions == 1 or channels == 1:
        return data
    moved = bytearray(len(data))
    size = positions * channels
    for start in range(0, outer * size, size):
        for k in range(positions):
            moved[start + k : start + size : positions] = data[
                start + k * channels : start + (k + 1) * channels
            ]
    return memoryview(moved)


class Call:
    """One operator, as its rule sees it: inputs and outputs by position, options by name."""

    def __init__(self, work: Lowering, operator: Operator) -> None:
        self.work, self.operator = work, operator
        self.op, self.const = work.op, work.const

    def __len__(self) -> int:
        return len(self.operator.inputs)

    def option(self, name: str) -> Any:
        """An option's value, its default if it is absent."""
        slot, code, default = s.OPTIONS[self.operator.name][name]
        options = self.operator.options
        if code == "[i]":
            return options.numbers(slot, "i") if options else ()
        return options.get(slot, code, default) if options else default

    def has(self, position: int) -> bool:
        """True if an optional input is there."""
        return position < len(self.operator.inputs) and self.operator.inputs[position] >= 0

    def tensor(self, position: int) -> TensorInfo:
        """What is known of an input. Raises Refused if it is absent."""
        if not self.has(position):
            raise Refused(f"input {position} is missing")
        return self.work.model.tensors[self.operator.inputs[position]]

    def target(self, position: int = 0) -> TensorInfo:
        """What is known of an output."""
        if position >= len(self.operator.outputs):
            raise Refused(f"output {position} is missing")
        return self.work.model.tensors[self.operator.outputs[position]]

    def value(self, position: int) -> str:
        """An input's numbers; "" if it is absent."""
        return self.work.real(self.operator.inputs[position]) if self.has(position) else ""

    def first(self, position: int) -> str:
        """An image's numbers with channels first."""
        self.tensor(position)
        return self.work.first(self.operator.inputs[position])

    def last(self, value: str) -> None:
        """Sets the output from an image with channels first, to which the fused activation is applied."""
        self.target()
        self.work.last(self.operator.outputs[0], self.activated(value))

    def kernel(self, position: int, perm: tuple[int, ...]) -> str:
        """A weight's numbers, permuted."""
        self.tensor(position)
        return self.work.kernel(self.operator.inputs[position], perm)

    def values(self) -> list[str]:
        """All inputs' numbers."""
        return [self.value(i) for i in range(len(self))]

    def stored(self, position: int) -> str:
        """An input as it is stored."""
        self.tensor(position)
        return self.work.stored(self.operator.inputs[position])

    def rank(self, position: int) -> int:
        """Number of dimensions of an input."""
        return len(self.tensor(position).spec.shape or ())

    def size(self, position: int, axis: int) -> int:
        """One size of an input. Raises Refused if it is open."""
        shape = self.tensor(position).spec.shape or ()
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        if not isinstance(size, int):
            raise Refused(f"dimension {axis} of input {position} is open")
        return size

    def sizes(self, position: int) -> tuple[int, ...]:
        """Shape of an input. Raises Refused if a size is open."""
        spec = self.tensor(position).spec
        if not spec.static:
            raise Refused(f"input {position} has the open shape {spec}")
        return spec.sizes

    def kind(self, position: int) -> DType:
        """Type in which a rule sees an input."""
        tensor = self.tensor(position)
        return as_dtype("float32") if is_quantised(tensor) else tensor.spec.dtype

    def integers(self, position: int) -> list[int]:
        """The numbers of a constant integer input. Raises Refused if it is none."""
        found = self.tensor(position).integers()
        if found is None:
            raise Refused(f"input {position} must be a constant of integers")
        return list(found)

    def shape_input(self, position: int) -> str:
        """An integer input as int64."""
        known = self.tensor(position).integers()
        if known is not None:
            return self.const(list(known), "int64")
        return str(self.op("Cast", self.stored(position), to=number_of(as_dtype("int64"))))

    def cast(self, value: str, kind: DType | str) -> str:
        """Converts a value."""
        return str(self.op("Cast", value, to=number_of(as_dtype(kind))))

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.const(list(values), "int64")

    def number(self, value: float, position: int = 0) -> str:
        """A constant number of the type of an input."""
        kind = self.kind(position)
        return self.const(value if kind.kind == "f" else int(value), kind.name)

    def activated(self, value: str) -> str:
        """The fused activation applied. Raises Refused for one that no operator here has."""
        number = self.option("fused_activation_function")
        name = s.ACTIVATIONS[number] if 0 <= number < len(s.ACTIVATIONS) else str(number)
        return activation(self, value, name)

    def result(self, value: str, position: int = 0) -> None:
        """Sets an output."""
        self.target(position)
        self.work.result(self.operator.outputs[position], value)


def activation(c: Call, value: str, name: str) -> str:
    """An activation by its name in the schema."""
    if name == "NONE":
        return value
    if name in ("RELU", "TANH"):
        return str(c.op({"RELU": "Relu", "TANH": "Tanh"}[name], value))
    if name in LIMITS:
        low, high = LIMITS[name]
        return str(c.op("Clip", value, c.number(low), c.number(high)))
    raise Refused(f"its activation {name} is not known")
