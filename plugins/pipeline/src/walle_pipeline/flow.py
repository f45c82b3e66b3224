"""Flows: what becomes of a user's events, written as a chain.

visits = Flow("ipv").on(page_visit("item"))
visits.map(feature).filter(worth_sending).to(tunnel, stream="ipv")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from walle_core.plugins import load_plugins
from walle_pipeline.aggregates import Aggregate, collect, count
from walle_pipeline.batch import Function
from walle_pipeline.contract import Operator, StreamOperator
from walle_pipeline.errors import FlowError
from walle_pipeline.events import Event
from walle_pipeline.pattern import Pattern

SIDES = ("errors", "late", "timeouts")
WindowShape = tuple[str, int, int]


@attrs.define(eq=False)
class Node:
    """One step of a flow's graph: makes its operator when the flow starts; `inputs` are (node, side output or None)."""

    name: str
    make: Callable[[], Any]
    inputs: tuple[tuple[Node, str | None], ...]


@attrs.define(eq=False)
class Root(Node):
    """Where a flow begins: matches of patterns, or events of some kinds and pages."""

    patterns: tuple[Pattern, ...] = ()
    kinds: tuple[str, ...] = ()
    page: str = "*"


class Stream:
    """Items on their way through a flow. Every method adds a step and returns the stream behind it; two calls on one
    stream are two branches.
    """

    def __init__(self, flow: Flow, node: Node, side: str | None = None) -> None:
        self._flow, self._node, self._side = flow, node, side

    def apply(self, operator: str | Operator | type[Operator], *arguments: Any, **parameters: Any) -> Stream:
        """A registered operator by name, or an Operator. Raises FlowError if its parameters are wrong."""
        return self._apply(operator, arguments, parameters, ())

    def _apply(
        self,
        operator: Any,
        arguments: tuple[Any, ...],
        parameters: dict[str, Any],
        others: tuple[Stream, ...],
    ) -> Stream:
        name = (
            operator if isinstance(operator, str) else getattr(operator, "__name__", type(operator).__name__)
        )
        of = getattr(arguments[0], "__name__", "") if arguments else ""
        name += f" {of}" if of and of != "<lambda>" else ""
        made = found(operator, "operator") if isinstance(operator, str) else operator
        if isinstance(made, Operator):
            if arguments or parameters or others:
                raise FlowError(f"{name}: the operator exists already; parameters are for its class")
            return self._add(name, lambda: made, ())

        def make() -> Any:
            try:
                return made(*arguments, **parameters)
            except (TypeError, ValueError) as error:
                raise FlowError(f"flow {self._flow.name!r}: {name}: {error}") from error

        make()
        return self._add(name, make, others)

    def _add(self, name: str, make: Callable[[], Any], others: tuple[Stream, ...]) -> Stream:
        inputs = ((self._node, self._side), *((o._node, o._side) for o in others))
        if any(o._flow is not self._flow for o in others):
            raise FlowError(f"{name}: streams of two flows cannot meet; begin both at one Flow")
        node = Node(name, make, inputs)
        self._flow.nodes.append(node)
        return Stream(self._flow, node)

    def map(self, function: Function) -> Stream:
        """``function(value)`` in place of each value."""
        return self.apply("map", function)

    def filter(self, function: Function) -> Stream:
        """The items for which ``function(value)`` is true."""
        return self.apply("filter", function)

    def flat_map(self, function: Function) -> Stream:
        """The items of ``function(value)`` in place of each value."""
        return self.apply("flat_map", function)

    def key_by(self, function: Function) -> Stream:
        """``function(value)`` is the key of what follows."""
        return self.apply("key_by", function)

    def window(self, shape: WindowShape, aggregate: Aggregate | None = None) -> Stream:
        """One `Window` per key and window of `tumbling`, `hopping` or `session`, when it closes."""
        return self.apply("window", shape, collect() if aggregate is None else aggregate)

    def count(self, shape: WindowShape) -> Stream:
        """How many items per key and window."""
        return self.apply("window", shape, count())

    def join(self, other: Stream, within_ms: int, limit: int = 10_000) -> Stream:
        """Pairs (value, value of `other`) of one key that are at most `within_ms` apart."""
        return self._apply("join", (within_ms, limit), {}, (other,))

    def join_table(self, table: Mapping[Any, Any] | Callable[[Any], Any], *, inner: bool = False) -> Stream:
        """Pairs (value, what `table` has for the key)."""
        return self.apply("join_table", table, inner=inner)

    def dedupe(self, function: Function, keep_ms: int = 3_600_000) -> Stream:
        """Drops what has had the same ``function(value)`` and key less than `keep_ms` before."""
        return self.apply("dedupe", function, keep_ms)

    def sample(self, fraction: float, seed: int = 0) -> Stream:
        """The items of a share of the keys."""
        return self.apply("sample", fraction, seed)

    def side(self, name: str) -> Stream:
        """A side output of this step: ``errors``, ``late`` and ``timeouts`` (of the flow's beginning), or a plugin's own."""
        if name in SIDES[1:] and not isinstance(self._node, Root):
            raise FlowError(
                f"the side output {name!r} belongs to the flow's beginning, not to {self._node.name!r}"
            )
        return Stream(self._flow, self._node, name)

    def to(self, target: Any, **parameters: Any) -> Flow:
        """Where items end: a store (``table=``), a tunnel (``stream=``), a list, a function of a value, a registered sink.

        Returns the flow. Raises FlowError if `target` is none of these.
        """
        from walle_pipeline.sinks import sink

        made = sink(target, self._flow.name, parameters)
        self._add(f"to {made.name}", lambda: made, ())
        return self._flow

    def __getattr__(self, name: str) -> Callable[..., Stream]:
        if name.startswith("_") or name not in load_plugins().stream_operators:
            raise AttributeError(f"no stream operator {name!r}; `walle plugins` shows what is installed")
        return lambda *arguments, **parameters: self.apply(name, *arguments, **parameters)


class Flow:
    """A graph of steps with a name, which is also that of its task.

    Args:
        name: letters, digits, ``_``, ``-`` and ``.``; at most 64.
    """

    def __init__(self, name: str) -> None:
        if not name or len(name) > 64 or not all(c.isalnum() or c in "_-." for c in name):
            raise FlowError(f"flow name {name!r}: wanted 1 to 64 letters, digits, '_', '-' or '.'")
        self.name = name
        self.nodes: list[Node] = []

    def on(self, *patterns: Pattern) -> Stream:
        """Matches of any of `patterns` (see walle_pipeline.pattern). Raises FlowError for a pattern that cannot work."""
        if not patterns:
            raise FlowError(f"flow {self.name!r}: on() needs a pattern")
        for pattern in patterns:
            pattern.check()
        return self._begin(Root("on " + " | ".join(map(str, patterns)), lambda: None, (), patterns=patterns))

    def events(self, *kinds: str | type[Event], page: str = "*") -> Stream:
        """Events themselves, of some kinds (default: all) and one page (default: any)."""
        names = tuple(k if isinstance(k, str) else str(k.__struct_config__.tag) for k in kinds)
        return self._begin(
            Root(f"events {', '.join(names) or '*'}", lambda: None, (), kinds=names, page=page)
        )

    def _begin(self, root: Root) -> Stream:
        self.nodes.append(root)
        return Stream(self, root)

    def check(self) -> None:
        """Raises FlowError if the flow begins nowhere."""
        if not any(isinstance(node, Root) for node in self.nodes):
            raise FlowError(f"flow {self.name!r} begins nowhere; start with on() or events()")


def found(name: str, kind: str) -> Any:
    """What is registered as `name`. Raises UnsupportedError if nothing is, FlowError if it is of another kind."""
    entry: StreamOperator = load_plugins().stream_operators.get(name)
    if entry.kind != kind:
        raise FlowError(f"{name!r} is a {entry.kind}, not a {kind}")
    return entry.load()
