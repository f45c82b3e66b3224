"""A picture of a simulation: how long runs took and how they ended, the version beside the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from walle_core.errors import UnsupportedError
from walle_deploy.simulate.counts import Arm
from walle_deploy.simulate.result import Simulation

INK, COLORS = "#444444", ("#3465a4", "#b0b7c3")  # of the new version and the old
GOOD = "went well"


def draw(simulation: Simulation, path: str | Path) -> None:
    """Writes a picture (png, svg, pdf).

    Raises UnsupportedError if matplotlib is missing or cannot write that kind of file.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise UnsupportedError("pictures need matplotlib; pip install matplotlib") from error
    arms = [("new", simulation.new), *([("old", simulation.old)] if simulation.old else [])]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    try:
        _times(left, arms, simulation)
        _endings(right, arms)
        figure.suptitle(f"{simulation.task}: {simulation.verdict}", x=0.01, ha="left", weight="bold")
        figure.tight_layout()
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise UnsupportedError(f"{path}: {error}") from error
    finally:
        plt.close(figure)


def _times(axes: Any, arms: list[tuple[str, Arm]], simulation: Simulation) -> None:
    for (name, arm), color in zip(arms, COLORS, strict=False):
        found = sorted(arm.times.counts.items())
        seen, shares = 0, []
        for _, count in found:
            seen += count
            shares.append(100 * seen / len(arm.times))
        middles = [arm.times.middle(number) for number, _ in found]
        p99 = f", p99 {arm.times.quantile(0.99):.3g} ms" if found else ""
        axes.step(middles, shares, where="post", color=color, label=f"{name}{p99}", lw=2)
    axes.set(xscale="log", xlabel="time of a run, ms", ylabel="% of runs that are not longer", ylim=(0, 101))
    axes.axhline(99, color=INK, lw=0.6, ls=":")
    axes.legend(frameon=False, loc="lower right")
    _plain(axes)


def _endings(axes: Any, arms: list[tuple[str, Arm]]) -> None:
    kinds = list(dict.fromkeys(kind for _, arm in arms for kind in arm.by_kind))
    rows = [*reversed(kinds), GOOD]
    height = 0.8 / len(arms)
    for place, ((name, arm), color) in enumerate(zip(arms, COLORS, strict=False)):
        runs = max(arm.runs, 1)
        counts = [arm.runs - arm.failed if row == GOOD else arm.of_kind(row) for row in rows]
        at = [number + 0.4 - (place + 0.5) * height for number in range(len(rows))]
        bars = axes.barh(at, [100 * count / runs for count in counts], height, color=color, label=name)
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, color=INK, size=8)
    axes.set(xlabel="% of runs", xlim=(0, 112))
    axes.set_yticks(range(len(rows)), rows)
    _plain(axes)


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
