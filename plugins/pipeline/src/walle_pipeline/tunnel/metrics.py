"""The server's counters in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from walle_pipeline.tunnel.commit import Counters

_TOTALS = {
    "accepted": "connections accepted",
    "frames": "DATA frames received",
    "payload_bytes": "bytes of DATA frames, as on the wire",
    "duplicates": "payloads that came again",
    "records": "records written to the sink",
    "batches": "writes of the sink",
    "sink_errors": "writes of the sink that failed",
}


class _Collector:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily("walle_tunnel_open", "open connections", value=self._counters.open)
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"walle_tunnel_{name}", text, value=getattr(self._counters, name))
        ended = CounterMetricFamily("walle_tunnel_ended", "connections ended or refused", labels=["reason"])
        for reason, count in sorted(self._counters.ended.items()):
            ended.add_metric([reason], count)
        yield ended


def exposition(counters: Counters) -> tuple[int, str, bytes]:
    """HTTP status, content type and body; 501 if prometheus-client is not installed."""
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    except ImportError:
        return 501, "text/plain; charset=utf-8", b"install walle-pipeline[metrics]\n"
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counters))
    return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
