"""What plugins offer to the pipeline through ``walle_register_stream_operators``: operators, sinks, transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import attrs

from walle_core.errors import PluginError
from walle_pipeline.batch import Batch


@runtime_checkable
class Context(Protocol):
    """What an operator is given when a flow starts."""

    def each(
        self, function: Callable[[Any], Any], batch: Batch, inputs: list[Any] | None = None
    ) -> tuple[list[Any], Batch]:
        """Calls `function` on each of `inputs` (default: the values) and returns (results, the items that they belong to).

        An item for which it raises, or takes longer or more memory than the pipeline allows, goes to the side output
        ``errors`` and is in neither; the others go on.
        """

    def watched(self, values: Iterator[Any]) -> AbstractContextManager[Iterator[Any]]:
        """For an operator's own loop over the iterator of a list: the pipeline's limits of time and memory hold in it."""

    def fail(self, value: Any, time: int, key: Any, error: BaseException) -> None:
        """Sends one item to the side output ``errors``."""

    def side(self, name: str, batch: Batch) -> None:
        """Sends items to a side output."""


class Operator:
    """One step of a running flow. Subclasses take their parameters in the constructor and must not do work there.

    All methods are called by one thread. Batches come in order of time, and how items are cut into batches must not
    change what comes out.
    """

    context: Context

    def open(self, context: Context) -> None:
        """The flow starts."""
        self.context = context

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """Takes items, from input number `port`; returns what they make, None if nothing."""
        raise NotImplementedError

    def advance(self, time: int) -> Batch | None:
        """No item before `time` (event time, ms) comes any more; returns what that makes, None if nothing."""
        return None

    @property
    def deadline(self) -> int | None:
        """The earliest time at which `advance` would return something; None if only items matter."""
        return None

    def snapshot(self) -> Any:
        """State as values that MessagePack has; None if there is none."""
        return None

    def restore(self, state: Any) -> None:
        """Takes up what `snapshot` returned; called between `open` and the first item."""

    def close(self) -> None:
        """The flow ends."""


@attrs.frozen
class StreamOperator:
    """What a plugin registers.

    Attributes:
        name: how flows call it.
        target: ``module:attribute`` of an Operator subclass, a sink or a transport; imported when first used.
        kind: ``operator``, ``sink`` or ``transport``.
        summary: one line.
    """

    name: str
    target: str
    kind: str = "operator"
    summary: str = ""

    def load(self) -> Any:
        """The class. Raises PluginError if it cannot be imported."""
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"stream operator {self.name!r}: {self.target} cannot be loaded: {error}"
            ) from error
