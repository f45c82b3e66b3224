"""What peers.py writes of its rows: text lines, docs/benchmarks.md, a bar chart, the table of the front page."""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import walle_core as walle

MARKS = "<!-- figures: written by benchmarks/peers.py -->", "<!-- end of figures -->"


def section_marks(script: str) -> tuple[str, str]:
    """What a script's part of a page stands between."""
    return f"<!-- {script}: written by benchmarks/{script}.py -->", f"<!-- end of {script} -->"


def sections(page: Path) -> list[str]:
    """Scripts that have a part of the page, which stays when another one writes."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return re.findall(r"^<!-- (\w+): written by benchmarks/\1\.py -->$", text, re.MULTILINE)


def section(page: Path, script: str) -> str:
    """A script's part of a page, with its marks; "" if the page or the part is not there."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    marks = section_marks(script)
    _, begin, rest = text.partition(marks[0])
    inner, end, _ = rest.partition(marks[1])
    return f"\n{begin}{inner}{end}\n" if begin and end else ""


def write_section(page: Path, script: str, lines: Sequence[str]) -> None:
    """Writes a script's part of a page, in place of what is there or at the end of the page; all else stays."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    old, marks = section(page, script).strip(), section_marks(script)
    new = "\n".join([marks[0], *lines, marks[1]])
    text = text.replace(old, new) if old else f"{text.rstrip()}\n\n{new}\n".lstrip()
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def machine() -> str:
    """Name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [part.partition(":")[2].strip() for part in text.splitlines() if part.startswith("model name")]
    return names[0] if names else platform.machine()


def line(row: dict[str, Any], engines: Sequence[str]) -> list[str]:
    """A row as text cells: milliseconds per engine, wrong and missing ones marked, and the ratio."""
    cells = [row["model"], str(row["threads"])]
    for engine in engines:
        facts = row["engines"].get(engine, {})
        text = f"{facts['median_s'] * 1e3:.3f}" if "median_s" in facts else "-"
        cells.append(f"{text} (err {facts['difference']:.1g})" if facts.get("wrong") else text)
    return [*cells, f"{row['ratio']:.2f}", row["fastest"]]


def geometric_mean(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan


def markdown(rows: Sequence[dict[str, Any]], engines: Sequence[str], options: argparse.Namespace) -> str:
    """The rows as docs/benchmarks.md."""
    device = next((d.name + " " + str(d.traits.get("isa", "")) for ds in walle.backends().values() for d in ds
                   if d.traits.get("lanes", 1) > 1), platform.processor())  # fmt: skip
    lines = [
        "# Benchmarks", "",
        f"Made by `python benchmarks/peers.py` on {date.today()}: {device}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}.",
        f"Median latency in milliseconds per run, batch 1, precision {options.precision}, {options.rounds} interleaved rounds of {options.slice} s; "
        "ratio: Walle's against the fastest engine whose output is right.", "",
    ]  # fmt: skip
    heads = ["model", "threads", *engines, "ratio", "fastest peer"]
    for threads in sorted({r["threads"] for r in rows}):
        some = [r for r in rows if r["threads"] == threads]
        lines += ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 2) + "---|"]
        lines += ["| " + " | ".join(line(r, engines)) + " |" for r in some]
        lines += [
            "",
            f"Geometric mean of the ratios, {threads} thread(s): {geometric_mean([r['ratio'] for r in some]):.2f}",
            "",
        ]
    heads = ["model", *engines]
    for what, title, scale in (
        (
            "load_s",
            "Seconds to the first result, engine imported, second start (caches of plans and compiled models warm)",
            1,
        ),
        (
            "rss_mib",
            "Peak resident memory until the first result, second start, MiB (Python and NumPy included)",
            1,
        ),
    ):
        some = [r for r in rows if r["threads"] == min(r["threads"] for r in rows)]
        lines += [f"## {title}", "", "| " + " | ".join(heads) + " |", "|---|" + "--:|" * len(engines)]
        for r in some:
            cells = [r["engines"].get(e, {}).get(what) for e in engines]
            lines.append(
                f"| {r['model']} | "
                + " | ".join("-" if c is None else f"{c * scale:.3g}" for c in cells)
                + " |"
            )
        lines.append("")
    return "\n".join(lines)


def plot(rows: Sequence[dict[str, Any]], engines: Sequence[str], path: Path) -> None:
    """Bars of each engine's time relative to Walle's, one group per model."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    some = [r for r in rows if r["threads"] == min(r["threads"] for r in rows)]
    figure, axis = plt.subplots(figsize=(max(8, len(some)), 4.5))
    width = 0.8 / len(engines)
    for i, engine in enumerate(engines):
        heights = [
            r["engines"].get(engine, {}).get("median_s", math.nan)
            / r["engines"]["walle"].get("median_s", math.nan)
            for r in some
        ]
        axis.bar([x + (i - len(engines) / 2) * width for x in range(len(some))], heights, width, label=engine)
    axis.axhline(1, color="black", linewidth=0.8)
    axis.set_xticks(range(len(some)), [r["model"] for r in some], rotation=45, ha="right")
    axis.set_ylabel("time relative to Walle")
    axis.set_ylim(0, 3)
    axis.legend(ncol=len(engines))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def figures(rows: Sequence[dict[str, Any]], readme: Path) -> None:
    """Writes a short table between the marks of the front page."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    lines = ["", "| model | Walle ms, 1 thread | fastest other engine | ratio |", "|---|--:|---|--:|"]
    for r in rows:
        facts = r["engines"]["walle"]
        if r["threads"] == 1 and "median_s" in facts and r["fastest"]:
            best = r["engines"][r["fastest"]]["median_s"]
            lines.append(
                f"| {r['model']} | {facts['median_s'] * 1e3:.2f} | {r['fastest']} {best * 1e3:.2f} | {r['ratio']:.2f} |"
            )
    lines += [
        "",
        "All engines, threads, memory and the machine: [docs/benchmarks.md](docs/benchmarks.md).",
        "",
    ]
    readme.write_text(before + MARKS[0] + "\n".join(lines) + MARKS[1] + after, encoding="utf-8")
