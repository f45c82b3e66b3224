"""Draws a simulation: coverage over time with the stages, and below it the share of runs that failed in each arm."""

from __future__ import annotations

import os
from typing import Any

from walle_deploy.fleet.errors import FleetError
from walle_deploy.fleet.story import Scene, Story

BLUE, ORANGE, GRAY, RED = "#2a6fbb", "#d8742a", "#9a9a9a", "#b3261e"
LEAST = 10  # reports below which a share is not drawn


def draw(story: Story, path: str | os.PathLike[str]) -> None:
    """Writes a picture. Raises FleetError without matplotlib, or where it cannot be written."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise FleetError(f"drawing needs matplotlib ({error}): pip install 'walle-deploy[plot]'") from error
    figure, (upper, lower) = plt.subplots(
        2, sharex=True, figsize=(9, 6), height_ratios=(3, 1), layout="constrained"
    )
    hours = [scene.at / 3600 for scene in story.scenes]
    upper.step(hours, [100 * scene.share for scene in story.scenes], where="post", color=GRAY, linewidth=1,
               linestyle="--", label="share that the stage admits")  # fmt: skip
    upper.plot(
        hours, [100 * scene.coverage for scene in story.scenes], color=BLUE, linewidth=2, label="coverage"
    )
    upper.set_ylabel("% of devices")
    upper.set_ylim(0, 104)
    _stages(upper, story)
    upper.legend(loc="center right", frameon=False)
    for arm, color, name in ((0, ORANGE, "new version"), (1, GRAY, "control")):
        some = [scene for scene in story.scenes if scene.reports[arm] >= LEAST]
        shares = [100 * scene.failed[arm] / scene.reports[arm] for scene in some]
        lower.plot([scene.at / 3600 for scene in some], shares, color=color, linewidth=1.5, label=name)
    lower.set_ylabel("% of reports\nthat failed")
    lower.set_xlabel("hours")
    lower.set_ylim(bottom=0)
    lower.set_xlim(0, hours[-1])
    lower.legend(loc="upper right", frameon=False)
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
    last = story.last
    upper.set_title(
        f"{story.devices:,} devices, simulated in {last.took:.0f} s: {last.status} in the stage {last.title}, "
        f"{last.coverage:.1%} covered, at most {story.peak:.1%}",
        loc="left",
        fontsize=10,
    )
    try:
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise FleetError(f"{path}: cannot be written: {error}") from error
    finally:
        plt.close(figure)


def _stages(axis: Any, story: Story) -> None:
    """A line with a name where each stage begins, and where the release ends."""
    last: Scene | None = None
    for row, scene in enumerate(_changes(story)):
        ended = last is not None and scene.status not in {last.status, "running"}
        color = RED if scene.status in {"rolled back", "revoked"} else GRAY
        text = scene.status if ended else scene.title
        axis.axvline(scene.at / 3600, color=color, linewidth=0.8, alpha=0.7)
        axis.annotate(f" {text}", (scene.at / 3600, 96 - 7 * (row % 6)), color=color, fontsize=8, va="top")
        last = scene


def _changes(story: Story) -> list[Scene]:
    found: list[Scene] = []
    for scene in story.scenes:
        if not found or (scene.stage, scene.status) != (found[-1].stage, found[-1].status):
            found.append(scene)
    return found
