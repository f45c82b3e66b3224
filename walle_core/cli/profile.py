"""The roofline of a run: per operator time, rate against the processor's peak, bytes against its bandwidth; and a trace."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from walle_core.cli.common import milliseconds, print_table
from walle_core.cost import bandwidth
from walle_core.errors import InputError
from walle_core.types import DeviceRates

Row = dict[str, Any]


def measure(session: Any, feeds: Mapping[str, Any], repeat: int = 15) -> list[Row]:
    """Steps of a run, each with the median of its seconds over `repeat` runs."""
    runs = [session.profile(feeds) for _ in range(repeat)]
    return [
        {**steps[0], "seconds": statistics.median(s["seconds"] for s in steps)}
        for steps in zip(*runs, strict=True)
    ]


def items(steps: Sequence[Row]) -> list[Row]:
    """Steps that do one operator's work together, as one row."""
    found: dict[Any, Row] = {}
    for index, step in enumerate(steps):
        key = step.get("item", f"step {index}")
        row = found.setdefault(key, {**step, "seconds": 0.0, "kernels": []})
        row["seconds"] += step["seconds"]
        row["kernels"].append(step.get("kernel", step.get("op", "")))
    return list(found.values())


def roofline(row: Row, rates: DeviceRates | None) -> Row:
    """What a row reaches: operations per second by the operator's definition and by its algorithm, bytes per second,
    and the shares of the device's peak and of its bandwidth for that many bytes (None where not known).
    """
    seconds = max(row["seconds"], 1e-12)
    flops, ops, moved = (row.get(k, 0.0) / seconds for k in ("flops", "ops", "bytes"))
    peak = rates.ops_per_s.get("peak") if rates is not None else None
    most = bandwidth(rates, row.get("bytes", 0.0)) if rates is not None else None
    return {
        "flops_per_s": flops, "ops_per_s": ops, "bytes_per_s": moved,
        "peak_share": ops / peak if peak else None, "bandwidth_share": moved / most if most else None,
    }  # fmt: skip


def print_roofline(steps: Sequence[Row], rates: DeviceRates | None, title: str) -> None:
    """The table, slowest first, with a line for the whole run."""
    rows = items(steps)
    total = sum(r["seconds"] for r in rows) or 1.0
    whole = {k: sum(r.get(k, 0.0) for r in rows) for k in ("seconds", "flops", "ops", "bytes")}
    lines = [_line(r, roofline(r, rates), total) for r in sorted(rows, key=lambda r: -r["seconds"])]
    lines.append(
        _line(
            {**whole, "algorithm": "", "name": "the whole run", "kernels": []}, roofline(whole, rates), total
        )
    )
    print_table(
        (">ms", ">share", ">GFLOP/s", ">Gop/s", ">of peak", ">GB/s", ">of bandwidth", "algorithm", "parameters", "kernel", "node"),
        lines,
        title=title,
    )  # fmt: skip


def _line(row: Row, reached: Row, total: float) -> tuple[Any, ...]:
    share = {k: "" if reached[k] is None else f"{reached[k]:.0%}" for k in ("peak_share", "bandwidth_share")}
    params = " ".join(f"{k}={v}" for k, v in (row.get("params") or {}).items())
    return (
        milliseconds(row["seconds"]), f"{row['seconds'] / total:.1%}", f"{reached['flops_per_s'] / 1e9:.1f}",
        f"{reached['ops_per_s'] / 1e9:.1f}", share["peak_share"], f"{reached['bytes_per_s'] / 1e9:.1f}",
        share["bandwidth_share"], row.get("algorithm"), params, " ".join(dict.fromkeys(row["kernels"])), row.get("name"),
    )  # fmt: skip


def write_trace(steps: Sequence[Row], path: str) -> None:
    """A trace for Perfetto or chrome://tracing: the steps of one run, one after the other. Raises InputError."""
    events, now = [], 0.0
    for step in steps:
        facts = {k: v for k, v in step.items() if k not in ("seconds", "name", "params")}
        facts |= {str(k): str(v) for k, v in (step.get("params") or {}).items()}
        event = {
            "name": step.get("name") or step.get("kernel", ""),
            "cat": step.get("algorithm", ""),
            "ph": "X",
        }
        events.append({**event, "ts": now, "dur": step["seconds"] * 1e6, "pid": 1, "tid": 1, "args": facts})
        now += step["seconds"] * 1e6
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)
    except OSError as error:
        raise InputError(
            f"cannot write the trace to {path}: {error.strerror}; choose another file"
        ) from error
