"""Walle's data pipeline: from a user's events to features on the device, and to the cloud exactly once.

Importing this module is cheap; the names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.registry import Registry

_NAMES = {
    "events": ("Event", "PageEnter", "PageExit", "Scroll", "Exposure", "Click", "Schema"),
    "pattern": ("Pattern", "event", "page_enter", "page_exit", "scroll", "exposure", "click", "page_visit"),
    "trigger": ("Trigger", "Fired"),
    "_engine": ("Match",),
    "flow": ("Flow", "Stream"),
    "pipeline": ("Pipeline",),
    "device": ("Device",),
    "contract": ("Operator", "StreamOperator"),
    "batch": ("Batch",),
    "operators.windows": ("Window", "tumbling", "hopping", "session"),
    "aggregates": (
        "Aggregate", "count", "sum_of", "mean", "collect", "reduce", "top_k", "distinct", "quantiles", "several",
    ),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_HOMES, "walle_register_commands", "walle_register_stream_operators"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


@hookimpl
def walle_register_stream_operators(registry: Registry[Any]) -> None:
    """Registers the built-in operators."""
    from walle_pipeline.contract import StreamOperator

    basic, windows, joins = (f"walle_pipeline.operators.{m}" for m in ("basic", "windows", "joins"))
    for name, target, summary in (
        ("map", f"{basic}:Map", "a function of each value"),
        ("filter", f"{basic}:Filter", "the items that a function accepts"),
        ("flat_map", f"{basic}:FlatMap", "any number of items for each"),
        ("key_by", f"{basic}:KeyBy", "a function gives the key"),
        ("sample", f"{basic}:Sample", "the items of a share of the keys"),
        ("dedupe", f"{basic}:Dedupe", "the first of equal items"),
        ("window", f"{windows}:TimeWindow", "tumbling, hopping and session windows with an aggregate"),
        ("join", f"{joins}:Join", "pairs of two streams within a time"),
        ("join_table", f"{joins}:JoinTable", "what a table has for the key"),
    ):
        registry.add(StreamOperator(name, target, "operator", summary))


@hookimpl
def walle_register_commands(registry: Registry[Any]) -> None:
    """Registers ``walle pipeline``."""
    from walle_core.types import Command

    registry.add(
        Command("pipeline", "Run, replay, explain and serve data pipelines.", "walle_pipeline.cli:command")
    )
