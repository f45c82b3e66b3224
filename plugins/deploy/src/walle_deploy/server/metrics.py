"""What one server did, counted in each of its workers, and all of it in Prometheus' text format from any of them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds of the buckets of latencies; the last bucket has none."""

_HELP = {
    "checks": ("checks by kind (digest or profile) and result", ("kind", "result")),
    "reports": ("reports by result", ("result",)),
    "registrations": ("registrations by result", ("result",)),
    "api_requests": ("requests of operators by status", ("status",)),
    "refused_tokens": ("tokens that were no token, by whose they should have been", ("whose",)),
    "file_bytes": ("bytes of files and image metadata that were sent", ("kind",)),
}


_LABELS = {"releases": "status", "image_seconds_left": "role"}


class _Board(msgspec.Struct, array_like=True):
    """One worker's numbers, as they are exchanged."""

    counts: dict[str, dict[str, int]]
    times: dict[str, tuple[list[int], float]]


class Latency:
    """How long requests of a kind took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more request."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Metrics:
    """The counters of this worker.

    Args:
        folder: where the workers of one server leave their numbers for each other; None: there is only this one.

    Attributes:
        counts: metric -> labels joined by a space -> how often.
        digest, profile, report, api: latencies.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in _HELP}
        self.digest, self.profile, self.report, self.api = (Latency() for _ in range(4))
        self._path = None if folder is None else folder / f"{os.getpid()}-{time.time_ns()}.board"
        self._written = b""

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Counts; labels come from the code, so that they are few."""
        self.counts[name][" ".join(labels)] += by

    def flush(self) -> None:
        """Leaves this worker's numbers for the others. They outlast the worker, so that sums never fall."""
        if self._path is None or (data := self._encoded()) == self._written:
            return
        with contextlib.suppress(OSError):  # numbers are no reason to stop serving
            handle, name = tempfile.mkstemp(prefix=".", dir=self._path.parent)
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, self._path)
            self._written = data

    def exposition(self, gauges: Mapping[str, Mapping[str, float]]) -> tuple[bytes, str]:
        """All workers' numbers and `gauges` (metric -> value of its one label -> number): body and content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self._boards(), gauges))
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def _times(self) -> dict[str, Latency]:
        return {"digest": self.digest, "profile": self.profile, "report": self.report, "api": self.api}

    def _encoded(self) -> bytes:
        times = {name: (each.buckets, each.seconds) for name, each in self._times().items()}
        return msgspec.msgpack.encode(_Board({k: dict(v) for k, v in self.counts.items()}, times))

    def _boards(self) -> list[_Board]:
        mine = [msgspec.msgpack.decode(self._encoded(), type=_Board)]
        others = (
            [] if self._path is None else [p for p in self._path.parent.glob("*.board") if p != self._path]
        )
        for path in others:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                mine.append(msgspec.msgpack.decode(path.read_bytes(), type=_Board))
        return mine


class _Collector:
    def __init__(self, boards: list[_Board], gauges: Mapping[str, Mapping[str, float]]) -> None:
        self._boards, self._gauges = boards, gauges

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, (text, labels) in _HELP.items():
            sums: Counter[str] = Counter()
            for board in self._boards:
                sums.update(board.counts.get(name, {}))
            family = CounterMetricFamily(f"walle_deploy_{name}", text, labels=labels)
            for values, number in sorted(sums.items()):
                family.add_metric(values.split(" "), number)
            yield family
        times = HistogramMetricFamily(
            "walle_deploy_request_seconds", "time that requests took", labels=["kind"]
        )
        for kind in ("digest", "profile", "report", "api"):
            found = [board.times[kind] for board in self._boards if kind in board.times]
            counts = [sum(column) for column in zip(*(buckets for buckets, _ in found), strict=True)]
            sums_to = [sum(counts[: at + 1]) for at in range(len(counts))]
            pairs = [(str(bound), sums_to[at]) for at, bound in enumerate(BOUNDS)] + [("+Inf", sums_to[-1])]
            times.add_metric([kind], pairs, sum(seconds for _, seconds in found))
        yield times
        for name, numbers in self._gauges.items():
            label = _LABELS.get(name)
            gauge = GaugeMetricFamily(
                f"walle_deploy_{name}", name.replace("_", " "), labels=[label] if label else None
            )
            for value, amount in sorted(numbers.items()):
                gauge.add_metric([value] if label else [], amount)
            yield gauge
