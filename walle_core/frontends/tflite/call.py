"""How rules see operators: each rule (`lowers`) gets one operator as a `Call` and works on plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walle_core.frontends.tflite import schema as s
from walle_core.frontends.tflite.flatbuffer import DamagedError
from walle_core.frontends.tflite.lowering import Lowering, Refused, is_quantised
from walle_core.frontends.tflite.model import Operator, TensorInfo
from walle_core.ops.element_types import number_of
from walle_core.types import DType
from walle_core.types import dtype as as_dtype

LIMITS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
Rule = Callable[["Call"], None]
RULES: dict[str, Rule] = {}


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for operators of the schema."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return add


def lower(work: Lowering, operator: Operator) -> None:
    """Appends the nodes of an operator. Raises Refused."""
    rule = RULES.get(operator.name)
    if rule is None:
        raise Refused("Walle does not have it")
    try:
        rule(Call(work, operator))
    except DamagedError:
        raise
    except (
        ValueError,
        IndexError,
        TypeError,
        ZeroDivisionError,
    ) as error:  # a rank or a count that it cannot have
        raise Refused(f"its inputs, outputs and options do not fit ({error})") from error


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
