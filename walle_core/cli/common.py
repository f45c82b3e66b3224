"""What commands share: options, tables, JSON, progress, number formats."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs
import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from walle_core.recovery import POLICIES

F = TypeVar("F", bound=Callable[..., Any])

model_argument = click.argument("model", type=click.Path(exists=True, dir_okay=False))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), default=2, show_default=True, help="Threads of one run."
)
backend_option = click.option(
    "--backend",
    metavar="NAME",
    default=None,
    help="Use this backend instead of the one that the search finds fastest.",
)

precision_option = click.option(
    "--precision",
    type=click.Choice(["high", "low"]),
    default="high",
    show_default=True,
    help="low: products may round their operands to bfloat16, where that is faster.",
)

device_loss_option = click.option(
    "--on-device-loss",
    type=click.Choice(POLICIES),
    default="raise",
    show_default=True,
    help="replan: go on on the other backends if a device fails.",
)


def walle_command(epilog: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command whose help ends with `epilog`, lines kept: the examples."""
    text = "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in epilog.strip().splitlines())
    return click.command(epilog=text, **settings)


def console() -> Console:
    """Standard output; lines are not wrapped when it is not a terminal."""
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def print_json(value: Any) -> None:
    """Prints attrs objects, mappings, sequences and numbers as JSON."""
    click.echo(json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return _plain(attrs.asdict(value, recurse=False))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float) or hasattr(value, "__float__"):
        number = float(value)
        return number if number - number == 0 else str(number)
    return str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Prints a table; columns whose name starts with ``>`` are right-aligned. In a file or pipe no cell is wrapped."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _print_plain(columns, lines, title)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    console().print(table)


def _print_plain(columns: Sequence[str], lines: Sequence[Sequence[str]], title: str | None) -> None:
    heads = [c.lstrip(">") for c in columns]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    if title:
        click.echo(title)
    for line in [heads, *lines]:
        cells = [
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[str], None]]:
    """Shows that work goes on, on a terminal only. Yields a function that names the current step."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task(description, total=total)

        def step(text: str) -> None:
            bar.update(task, description=f"{description}: {text}", advance=0 if total is None else 1)

        yield step


def si(value: float | None, unit: str) -> str:
    """1234567, "B/s" -> "1.23 MB/s"."""
    if value is None:
        return ""
    if value in (float("inf"), float("-inf")):
        return "unlimited"
    if not value:
        return f"0 {unit}"
    for factor, prefix in (
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
    ):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds with three significant digits; "" for None."""
    return "" if seconds is None else f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"
