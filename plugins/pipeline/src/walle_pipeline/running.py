"""A flow that runs: its operators, and how items pass between them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

import attrs

from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError
from walle_pipeline.flow import Flow, Node, Root
from walle_pipeline.guard import Guard, Watched
from walle_pipeline.sinks import Sink

KEPT_FAILURES = 1000  # per flow


@attrs.frozen
class Failure:
    """An item that a user function did not accept.

    Attributes:
        flow, step: where.
        value, time, key: of the item.
        error: what was raised.
    """

    flow: str
    step: str
    value: Any
    time: int
    key: Any
    error: BaseException


class Running:
    """The context of one node's operator, and its place among the others."""

    def __init__(self, owner: RunningFlow, node: Node) -> None:
        self.owner, self.node = owner, node
        self.operator: Operator | None = None if isinstance(node, Root) else node.make()
        self.children: list[tuple[Running, int]] = []
        self.sides: dict[str, list[tuple[Running, int]]] = {}
        self.guard: Guard = owner.guard

    def watched(self, values: Iterator[Any]) -> Watched:
        """See Context."""
        return Watched(self.guard, values)

    def each(
        self, function: Callable[[Any], Any], batch: Batch, inputs: list[Any] | None = None
    ) -> tuple[list[Any], Batch]:
        """See Context."""
        source = batch.values if inputs is None else inputs
        results: list[Any] = []
        values = iter(source)
        failed: list[int] = []
        with Watched(self.guard, values):
            while True:
                try:
                    results.extend(map(function, values))
                    break
                except KeyboardInterrupt:
                    raise
                except (
                    BaseException
                ) as error:  # also of code that wants to end the process: it has no right to
                    at = len(results) + len(failed)
                    if at == len(
                        source
                    ):  # an interrupt that hit after the last item: that item took too long
                        at -= 1
                        results.pop()
                    failed.append(at)
                    self.fail(batch.values[at], batch.times[at], batch.keys[at], error)
        return results, batch.without(failed) if failed else batch

    def fail(self, value: Any, time: int, key: Any, error: BaseException) -> None:
        """See Context."""
        failure = Failure(self.owner.flow.name, self.node.name, value, time, key, error)
        self.owner.failures.append(failure)
        self.owner.counts["errors"] += 1
        self.side("errors", Batch([failure], [time], [key]))

    def side(self, name: str, batch: Batch) -> None:
        """See Context."""
        for child, port in self.sides.get(name, ()):
            child.take(batch, port)

    def take(self, batch: Batch, port: int = 0) -> None:
        """Runs the operator on items and hands on what it makes."""
        assert self.operator is not None
        try:
            made = self.operator.process(batch, port)
        except Exception as error:  # of an operator, not of a function that it calls: the batch is set aside
            for value, time, key in zip(batch.values, batch.times, batch.keys, strict=True):
                self.fail(value, time, key, error)
            return
        self.give(made)

    def give(self, made: Batch | None) -> None:
        """Hands items on."""
        if made:
            for child, port in self.children:
                child.take(made, port)


class RunningFlow:
    """A flow with operators of its own.

    Raises FlowError if a step cannot be made.
    """

    def __init__(self, flow: Flow, guard: Guard) -> None:
        flow.check()
        self.flow, self.guard = flow, guard
        self.failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self.counts: Counter[str] = Counter()
        by_node: dict[Node, Running] = {}
        for node in flow.nodes:
            running = by_node[node] = Running(self, node)
            for port, (source, side) in enumerate(node.inputs):
                if source not in by_node:
                    raise FlowError(f"flow {flow.name!r}: {node.name} comes before its input {source.name}")
                parent = by_node[source]
                (parent.children if side is None else parent.sides.setdefault(side, [])).append(
                    (running, port)
                )
        self.nodes = list(by_node.values())
        self.roots = [n for n in self.nodes if isinstance(n.node, Root)]
        for running in self.nodes:
            if running.operator is not None:
                running.operator.open(running)

    def advance(self, time: int) -> None:
        """No item before `time` comes any more."""
        for running in self.nodes:  # inputs before what they feed
            operator = running.operator
            if operator is not None and (deadline := operator.deadline) is not None and deadline <= time:
                try:
                    made = operator.advance(time)
                except Exception as error:
                    running.fail(None, time, None, error)
                    continue
                running.give(made)

    @property
    def deadline(self) -> int | None:
        """The earliest time at which `advance` would do something; None if nothing waits for time."""
        times = [n.operator.deadline for n in self.nodes if n.operator is not None]
        return min((t for t in times if t is not None), default=None)

    def snapshot(self) -> Any:
        """State of every step that has one."""
        return [None if n.operator is None else n.operator.snapshot() for n in self.nodes]

    def restore(self, state: Any) -> None:
        """Takes up what `snapshot` returned, of the same flow. Raises FlowError if the flow has changed."""
        if len(state) != len(self.nodes):
            raise FlowError(
                f"flow {self.flow.name!r} has {len(self.nodes)} steps, its snapshot {len(state)}: "
                "it was changed; start it without the snapshot, or under another name"
            )
        for running, one in zip(self.nodes, state, strict=True):
            if running.operator is not None and one is not None:
                running.operator.restore(one)

    @property
    def sinks(self) -> list[Sink]:
        """Where it ends."""
        return [node.operator for node in self.nodes if isinstance(node.operator, Sink)]

    def close(self, but: Sequence[Operator] = ()) -> None:
        """Ends all operators, except some."""
        for running in self.nodes:
            if running.operator is not None and running.operator not in but:
                running.operator.close()


def chosen(root: Root, events: list[Any]) -> list[Any]:
    """Those of `events` that a flow's beginning asks for."""
    if root.kinds:
        events = list(compress(events, [event.kind in root.kinds for event in events]))
    return events if root.page == "*" else [event for event in events if event.page == root.page]
