"""Draft: a node on its way to the newest operator set, and the rules that many operators share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.errors import UnsupportedError
from walle_core.frontends.onnx.scope import Scope
from walle_core.graph.ir import Node


@attrs.define(eq=False)
class Draft:
    """A node on its way up; rules change it in place.

    Attributes:
        before: further nodes that the new form needs.
        removed: True if `before` already makes the outputs.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    name: str
    scope: Scope
    before: list[Node] = attrs.field(factory=list)
    removed: bool = False

    def input(self, index: int) -> str:
        """Name of an input, "" if absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def set_input(self, index: int, name: str) -> None:
        """Sets an input, with absent ones before it."""
        while len(self.inputs) <= index:
            self.inputs.append("")
        self.inputs[index] = name

    def const(self, value: Any, dtype: str = "int64") -> str:
        """A new constant."""
        name = self.scope.fresh(f"{self.name}/const")
        self.scope.add_constant(name, Tensor.of(value, dtype))
        return name

    def like(self, value: float, other: str) -> str:
        """A new constant with the dtype of another value."""
        dtype = self.scope.dtype(other)
        if dtype is not None:
            whole = dtype.kind in "iu"
            return self.const(int(value) if whole else value, dtype.name)
        return self.emit("CastLike", [self.const(value, "float32"), other])

    def emit(self, op: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        """A node in front of this one; returns its output."""
        out = out or self.scope.fresh(f"{self.name}/{op}")
        self.before.append(Node(op, tuple(inputs), (out,), attributes, out))
        return out

    def error(self, message: str) -> UnsupportedError:
        """An error that names the node."""
        return UnsupportedError(f"{self.scope.where}: node {self.op} {self.name!r}: {message}")


Rule = Callable[[Draft], None]


def to_input(attribute: str, position: int) -> Rule:
    """An attribute of integers that became an int64 input."""

    def rule(d: Draft) -> None:
        value = d.attributes.pop(attribute, None)
        if value is not None and value != ():
            d.set_input(position, d.const(list(value)))

    return rule


def default(**values: Any) -> Rule:
    """Writes down a default that later versions changed."""

    def rule(d: Draft) -> None:
        for name, value in values.items():
            d.attributes.setdefault(name, value)

    return rule


def drop(*names: str) -> Rule:
    """Attributes that a run never needed."""

    def rule(d: Draft) -> None:
        for name in names:
            d.attributes.pop(name, None)

    return rule


def rename(**names: str) -> Rule:
    """New names for attributes."""

    def rule(d: Draft) -> None:
        for old, new in names.items():
            if old in d.attributes:
                d.attributes[new] = d.attributes.pop(old)

    return rule


def values(attribute: str, **names: str) -> Rule:
    """New names for an attribute's values."""

    def rule(d: Draft) -> None:
        if d.attributes.get(attribute) in names:
            d.attributes[attribute] = names[d.attributes[attribute]]

    return rule


def become(op: str) -> Rule:
    """A new name for the operator."""

    def rule(d: Draft) -> None:
        d.op = op

    return rule


def integral(*names: str) -> Rule:
    """Attributes that were floats and became integers."""

    def rule(d: Draft) -> None:
        for name in names:
            if name in d.attributes:
                d.attributes[name] = int(d.attributes[name])

    return rule
