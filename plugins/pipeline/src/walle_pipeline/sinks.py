"""Where a flow's items end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from walle_core.errors import WalleError
from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError, StoreError, TunnelError
from walle_pipeline.operators.basic import _hashable

PENDING = 10_000  # items that wait while a store or tunnel takes none

_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def payload(value: Any) -> bytes:
    """`value` itself if it is bytes, else as MessagePack."""
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else _encode(value)


class Sink(Operator):
    """Ends a stream. What a target refuses for now is kept, in order, and offered again with the next item.

    Subclasses fill `write`. Raises the target's error when `PENDING` items wait: nothing is dropped in silence.
    """

    name = "sink"

    def __init__(self) -> None:
        self.pending: deque[Any] = deque()
        self.waiting = self.refused = 0

    def prepare(self, batch: Batch) -> Any:
        """What `write` is given, however often it is asked."""
        return batch

    def write(self, prepared: Any) -> None:
        """Hands items over, durable or buffered as the target promises. Raises StoreError or TunnelError to be asked again."""
        raise NotImplementedError

    def process(self, batch: Batch, port: int = 0) -> None:
        """See Operator."""
        self.pending.append((len(batch), self.prepare(batch)))
        self.waiting += len(batch)
        self.retry()

    def retry(self) -> None:
        """Offers what waits again."""
        while self.pending:
            try:
                self.write(self.pending[0][1])
            except (StoreError, TunnelError, OSError):
                self.refused += 1
                if self.waiting > PENDING:
                    raise
                return
            self.waiting -= self.pending.popleft()[0]


class ToFunction(Sink):
    """Calls a function with each value."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function
        self.name = getattr(function, "__name__", "function")

    def process(self, batch: Batch, port: int = 0) -> None:
        """See Operator."""
        self.context.each(self.function, batch)


class ToList(Sink):
    """Appends values to a list."""

    name = "list"

    def __init__(self, target: list[Any]) -> None:
        super().__init__()
        self.target = target

    def write(self, prepared: Any) -> None:
        """See Sink."""
        self.target += prepared.values


class Numbered(Sink):
    """Names items so that those written again after a crash are known: flow, key, time, number among equals."""

    def __init__(self, flow: str) -> None:
        super().__init__()
        self.flow = flow
        self.time = -1
        self.counts: dict[Any, int] = {}  # key -> items at `time`

    def prepare(self, batch: Batch) -> Any:
        """The batch and a name for each item; the same items in the same order get the same names."""
        names = []
        for key, time in zip(batch.keys, batch.times, strict=True):
            if time != self.time:
                self.counts, self.time = {}, time
            number = self.counts[key] = self.counts.get(key, -1) + 1
            names.append(f"{self.flow}/{key}/{time}/{number}")
        return batch, names

    def snapshot(self) -> Any:
        """See Operator."""
        return [self.time, list(self.counts.items())]

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.time, self.counts = state[0], {_hashable(k): n for k, n in state[1]}


class ToStore(Numbered):
    """Puts values into a table of a collective store.

    Args:
        store: a CollectiveStore.
        table: its name; default: that of the flow.
        key: row's key from the value; default: a name of its own for each item, the same if it is written again.
    """

    def __init__(
        self, store: Any, flow: str, table: str = "", key: Callable[[Any], bytes | str] | None = None
    ) -> None:
        super().__init__(flow)
        self.store, self.table, self.key = store, table or flow, key
        self.name = f"store {self.table}"

    def write(self, prepared: Any) -> None:
        """See Sink."""
        batch, names = prepared
        keys = [self.key(v) for v in batch.values] if self.key else names
        self.store.put_many(self.table, list(zip(keys, map(payload, batch.values), batch.times, strict=True)))


class ToTunnel(Numbered):
    """Sends values to the cloud; see walle_pipeline.tunnel. A value is durable on the device when the sink returns."""

    def __init__(self, tunnel: Any, flow: str, stream: str = "") -> None:
        super().__init__(flow)
        self.tunnel, self.stream = tunnel, stream or flow
        self.name = f"tunnel {self.stream}"

    def write(self, prepared: Any) -> None:
        """See Sink."""
        batch, names = prepared
        self.tunnel.send_many(
            [(self.stream, payload(v), n) for v, n in zip(batch.values, names, strict=True)]
        )


def sink(target: Any, flow: str, parameters: dict[str, Any]) -> Sink:
    """The sink for what a flow was told to end in. Raises FlowError if there is none."""
    from walle_pipeline.flow import found

    try:
        if isinstance(target, Sink):
            return target
        if isinstance(target, str):
            made: Sink = found(target, "sink")(**parameters)
            return made
        if hasattr(target, "put_many"):
            return ToStore(target, flow, **parameters)
        if hasattr(target, "send_many"):
            return ToTunnel(target, flow, **parameters)
        if isinstance(target, list):
            return ToList(target, **parameters)
        if callable(target):
            return ToFunction(target, **parameters)
    except (TypeError, WalleError) as error:
        raise FlowError(f"flow {flow!r}: to({target!r}): {error}") from error
    raise FlowError(
        f"flow {flow!r}: to({target!r}): wanted a store, a tunnel, a list, a function or a sink's name"
    )
