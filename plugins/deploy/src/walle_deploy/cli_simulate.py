"""``walle task simulate``: recorded events through a version, before any device sees it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from walle_core.cli.common import json_option, print_json, progress, walle_command
from walle_deploy.errors import DeployError

if TYPE_CHECKING:
    from walle_deploy.simulate import Limits

FAILED = 1


@walle_command(
    "walle task simulate --logs monday.jsonl\nwalle task simulate v3 --logs logs/ --baseline v2\n"
    "walle task simulate v3 --logs logs/ --baseline v2 --release 7"
)
@click.argument("revision", required=False)
@click.option(
    "--logs",
    multiple=True,
    required=True,
    type=click.Path(exists=True),
    help="Recorded events: a file or folder.",
)
@click.option("--baseline", metavar="REVISION", help="Compare with this one; default: with nothing.")
@click.option("--schema", metavar="MODULE:NAME", help="The kinds of the application's events.")
@click.option("--workers", type=click.IntRange(1), help="Threads; default: one for each processor.")
@click.option("--ray", is_flag=True, help="On a Ray cluster instead.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the runs that are made twice.")
@click.option(
    "--limits",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="What it must show, as TOML.",
)
@click.option(
    "--release", type=click.IntRange(1), help="Tell the server that this release's simulation ended so."
)
@json_option
def simulate(
    revision: str | None,
    logs: tuple[str, ...],
    baseline: str | None,
    schema: str | None,
    workers: int | None,
    ray: bool,
    seed: int,
    limits: str | None,
    release: int | None,
    as_json: bool,
) -> None:
    """Replay recorded events through the task of the folder, or of a REVISION, and compare it with a BASELINE.

    Ends with status 1 unless it passes. Without enough data the server is told nothing.
    """
    from walle_deploy.publish import asking
    from walle_deploy.simulate import Limits
    from walle_deploy.simulate import simulate as replay
    from walle_deploy.task.worktree import WorkTree

    tree = WorkTree()
    files = tree.scenario.files(tree.task, revision) if revision else tree.files()
    old = tree.scenario.files(tree.task, baseline) if baseline else None
    with progress("simulating") as step:
        found = replay(
            files,
            logs,
            baseline=old,
            executor="ray" if ray else None,
            workers=workers,
            limits=_read_limits(limits) if limits else Limits(),
            progress=lambda done: step(str(done)),
            seed=seed,
            schema=schema,
        )
    told = release is not None and found.verdict != "no data"
    if told:
        with asking.client_here() as client:
            client.simulated(release or 0, found.passed, found.why)
    if as_json:
        print_json({**found.to_json(), "release": release if told else None})
    else:
        click.echo(str(found))
        if release is not None:
            click.echo(
                f"release {release} was told" if told else f"release {release} was told nothing, and waits"
            )
    if not found.passed:
        raise click.exceptions.Exit(FAILED)


def _read_limits(file: str) -> Limits:
    import msgspec

    from walle_deploy.simulate import Limits

    try:
        return msgspec.convert(tomllib.loads(Path(file).read_text("utf-8")), Limits)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DeployError(f"{file}: no limits of a simulation: {error}") from error


COMMANDS = {"simulate": simulate}
