"""A pipeline's counters for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from walle_core.errors import UnsupportedError
from walle_pipeline.pipeline import Pipeline

GAUGES = {
    "partials": "Partial matches that wait.",
    "keys": "Keys with partial matches.",
    "nodes": "Nodes of the trie of patterns.",
    "reordering": "Events held back until none before them can come.",
    "sinks_waiting": "Items that a store or tunnel has refused so far.",
}
COUNTERS = {
    "received": "Events that were fed.",
    "events": "Events that reached the trigger.",
    "matches": "Complete matches.",
    "timeouts": "Partial matches whose time has passed.",
    "cut": "Partial matches dropped because a key had too many.",
    "late": "Events that came after the lateness bound.",
    "future": "Events dated too far ahead of the clock.",
    "malformed": "What was no event.",
    "duplicates": "Events that had been seen.",
    "failed": "Conditions of patterns that raised, and contents that cannot be packed.",
    "errors": "Items that user functions did not accept.",
}


class PipelineCollector:
    """Register it with a prometheus_client registry; it reads `pipeline.stats` when it is scraped.

    Raises UnsupportedError if prometheus_client is not installed.
    """

    def __init__(self, pipeline: Pipeline, name: str = "default") -> None:
        try:
            from prometheus_client import core
        except ImportError as error:
            raise UnsupportedError(
                "metrics need prometheus_client; pip install 'walle-pipeline[metrics]'"
            ) from error
        self._core, self.pipeline, self.name = core, pipeline, name

    def collect(self) -> Iterator[Any]:
        """One family per counter and gauge, labelled by the pipeline's name."""
        stats = self.pipeline.stats()
        for names, family in (
            (COUNTERS, self._core.CounterMetricFamily),
            (GAUGES, self._core.GaugeMetricFamily),
        ):
            for name, text in names.items():
                made = family(f"walle_pipeline_{name}", text, labels=["pipeline"])
                made.add_metric([self.name], stats.get(name, 0))
                yield made
