"""The graph that grows out of a TFLite model: values, constants, and what quantisation and layout do to them.

A quantised tensor is stored as integers between operators; a rule reads it through DequantizeLinear and writes it through
QuantizeLinear. Whether an operator between the two runs on integers is then one decision, the engine's (graph.integer), and
no rule exists twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.frontends.tflite.model import Model, TensorInfo
from walle_core.graph.ir import Node
from walle_core.ops.element_types import number_of
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

QUANTISED = ("int8", "uint8", "int16", "int32", "int4", "int64")
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # permutations of an image to channels first and back


class Refused(Exception):
    """A rule cannot express an operator; collected, so that all of a file are reported at once."""


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

    def beside(self, tensor: TensorInfo, what: str) -> str:
        """A name for something that belongs to a tensor; the same again, unless the file has a tensor of that name."""
        name = f"{tensor.name}:{what}"
        return self.fresh(name) if name in self._taken else name

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
        return self.constant(self.beside(tensor, "scale"), scale), self.constant(
            self.beside(tensor, "zero_point"), zero
        )

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
        name = self.constant(self.beside(tensor, "first"), Tensor.wrap(moved, tensor.spec.dtype.name, shape))
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
