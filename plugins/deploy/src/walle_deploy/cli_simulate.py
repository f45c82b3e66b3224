"""``walle task simulate``: recorded events through a version, before any device sees it."""

from __future__ import annotations

import click

from walle_core.cli.common import json_option, print_json, progress, walle_command

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
@click.option(
    "--workers", type=click.IntRange(1), help="Threads or processes; default: one for each processor."
)
@click.option(
    "--processes",
    is_flag=True,
    help="Processes instead of threads, for tasks that run for less than a millisecond.",
)
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
    processes: bool,
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
    from walle_deploy.simulate.limits import read_limits
    from walle_deploy.task.worktree import WorkTree

    if processes and ray:
        raise click.UsageError("--processes and --ray: choose one")
    tree = WorkTree()
    files = tree.scenario.files(tree.task, revision) if revision else tree.files()
    old = tree.scenario.files(tree.task, baseline) if baseline else None
    with progress("simulating") as step:
        found = replay(
            files,
            logs,
            baseline=old,
            executor="ray" if ray else "processes" if processes else None,
            workers=workers,
            limits=read_limits(limits) if limits else Limits(),
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


COMMANDS = {"simulate": simulate}
