"""Where a flow's items end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from walle_core.errors import InputError, WalleError
from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError, StoreError, TunnelError

PENDING = 10_000  # items that wait while a store or tunnel takes none
LONG = 100  # characters of a key in an item's name, beyond which it is shortened: a store's key is of bounded size

_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def payload(value: Any) -> bytes:
    """`value` itself if it is bytes, else as MessagePack."""
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else _encode(value)


class Sink(Operator):
    """Ends a stream. What a target refuses for now is kept, in order, and offered again with the next item; what it can
    never take, or fails at, goes to the side output ``errors``.

    Subclasses fill `write`. Nothing is dropped in silence: the pipeline raises the target's error when `PENDING` items
    wait, once all events have passed all steps.

    Attributes:
        waiting: items that are kept.
        refused: how often the target took none.
        taken: items that have come.
    """

    name = "sink"

    def __init__(self) -> None:
        self.pending: deque[tuple[Batch, Any]] = deque()  # items, and what `write` is given for them
        self.waiting = self.refused = self.taken = 0
        self.error: Exception | None = None

    def prepare(self, batch: Batch) -> Any:
        """What `write` is given, however often it is asked."""
        return batch

    def write(self, prepared: Any) -> None:
        """Hands items over, durable or buffered as the target promises. Raises StoreError or TunnelError to be asked again."""
        raise NotImplementedError

    def flush(self) -> None:
        """Makes durable what `write` has returned for. Raises StoreError or TunnelError."""

    def process(self, batch: Batch, port: int = 0) -> None:
        """See Operator."""
        self.pending.append((batch, self.prepare(batch)))
        self.waiting += len(batch)
        self.taken += len(batch)
        self.retry()

    def retry(self) -> None:
        """Offers what waits again."""
        while self.pending:
            batch, prepared = self.pending[0]
            try:
                self.write(prepared)
            except (StoreError, TunnelError, OSError) as error:
                self.refused += 1
                self.error = error
                return
            except Exception as error:
                self.pending.popleft()
                parts = self.parts(batch, prepared) if len(batch) > 1 else []
                self.pending.extendleft(reversed(parts))
                if not parts:
                    self.waiting -= len(batch)
                    for item in zip(batch.values, batch.times, batch.keys, strict=True):
                        self.context.fail(*item, error)
                continue
            self.pending.popleft()
            self.waiting -= len(batch)

    def parts(self, batch: Batch, prepared: Any) -> list[tuple[Batch, Any]]:
        """Smaller pieces to be tried one by one after `write` has failed at all of them; none if that is not possible."""
        return []

    def check(self) -> None:
        """Raises the target's error if more than `PENDING` items wait."""
        if self.waiting > PENDING and self.error is not None:
            raise self.error


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
    """Names items so that those written again after a crash are known: flow, key, time, number among equals.

    Subclasses fill `put`.
    """

    def __init__(self, flow: str) -> None:
        super().__init__()
        self.flow = flow
        self.time = -1
        self.turn = 0  # how often time went back, as it may in ``late`` and ``timeouts``
        self.counts: dict[str, int] = {}  # key -> items at `time`

    def open(self, context: Any) -> None:
        """See Operator. Two sinks of one flow give different names, so that they may write to one table or stream."""
        super().open(context)
        nodes = getattr(getattr(context, "owner", None), "nodes", ())
        sinks = [node.operator for node in nodes if isinstance(node.operator, Numbered)]
        number = sinks.index(self) if self in sinks else 0
        self.prefix = f"{self.flow}#{number}" if number else self.flow

    def prepare(self, batch: Batch) -> Any:
        """The batch and a name for each item; the same items in the same order get the same names."""
        names = []
        for key, time in zip(batch.keys, batch.times, strict=True):
            if time != self.time:
                self.turn += time < self.time
                self.counts, self.time = {}, time
            text = str(key)
            if len(text) > LONG:
                text = f"{text[:LONG]}~{blake2b(text.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
            number = self.counts[text] = self.counts.get(text, -1) + 1
            again = f".{self.turn}" if self.turn else ""
            names.append(f"{self.prefix}/{text}/{time}/{number}{again}")
        return batch, names

    def put(self, batch: Batch, names: list[str]) -> None:
        """Hands items and their names over. Raises as `write`, and anything else if it can never be taken."""
        raise NotImplementedError

    def write(self, prepared: Any) -> None:
        """See Sink."""
        self.put(*prepared)

    def parts(self, batch: Batch, prepared: Any) -> list[tuple[Batch, Any]]:
        """See Sink. Items that are put again are known by their names."""
        names = prepared[1]
        each = [(batch.part(at, at + 1), names[at : at + 1]) for at in range(len(batch))]
        return [(one, (one, name)) for one, name in each]

    def snapshot(self) -> Any:
        """See Operator."""
        return [self.time, self.counts, self.turn]

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.time, self.counts, self.turn = state


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

    def put(self, batch: Batch, names: list[str]) -> None:
        """See Numbered."""
        keys = [self.key(v) for v in batch.values] if self.key else names
        self.store.put_many(self.table, list(zip(keys, map(payload, batch.values), batch.times, strict=True)))

    def flush(self) -> None:
        """See Sink."""
        if hasattr(self.store, "flush"):
            self.store.flush()


class ToTunnel(Numbered):
    """Sends values to the cloud; see walle_pipeline.tunnel. A value is durable on the device when the sink returns."""

    def __init__(self, tunnel: Any, flow: str, stream: str = "") -> None:
        super().__init__(flow)
        self.tunnel, self.stream = tunnel, stream or flow
        self.name = f"tunnel {self.stream}"

    def put(self, batch: Batch, names: list[str]) -> None:
        """See Numbered."""
        from walle_pipeline.tunnel.frames import MAX_PAYLOAD

        items = [(self.stream, payload(v), n) for v, n in zip(batch.values, names, strict=True)]
        for _, data, name in items:
            if not 0 < len(data) <= MAX_PAYLOAD:
                raise InputError(f"{name}: payload of {len(data)} bytes; 1 to {MAX_PAYLOAD} are allowed")
        self.tunnel.send_many(items)


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
