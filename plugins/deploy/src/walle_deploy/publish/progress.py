"""What a caller is told while something is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Watcher(Protocol):
    """Is told of steps; called from several threads."""

    def step(self, text: str) -> None:
        """What is done now."""

    def start(self, total: int) -> None:
        """So many bytes are to be sent."""

    def sent(self, count: int) -> None:
        """So many more were; negative if they must go again."""


class Silent:
    """A watcher that does nothing."""

    def step(self, text: str) -> None:
        """See Watcher."""

    def start(self, total: int) -> None:
        """See Watcher."""

    def sent(self, count: int) -> None:
        """See Watcher."""


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._steps = bar.add_task("", total=None)
        self._total = 0

    def step(self, text: str) -> None:
        self._bar.update(self._steps, description=text)

    def start(self, total: int) -> None:
        self._total += total
        self._bar.update(self._steps, total=self._total)

    def sent(self, count: int) -> None:
        self._bar.advance(self._steps, count)


@contextmanager
def shown() -> Iterator[Watcher]:
    """A bar on the terminal; nothing where there is none."""
    import sys

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        yield _Bar(bar)
