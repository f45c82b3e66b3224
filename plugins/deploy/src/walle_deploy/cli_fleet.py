"""``walle fleet``: many simulated devices, to see what a release does before real ones get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, print_json, print_table, walle_command
from walle_deploy.cli_release import FAILED, read_plan
from walle_deploy.errors import DeployError

if TYPE_CHECKING:
    from walle_deploy.fleet.fleet import Nature
    from walle_deploy.fleet.story import Story

_SHARE = click.FloatRange(0, 1)
_HEALTHY = 0.01  # share of runs that fails where nothing is wrong


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Simulated devices: many kinds of them, which ask, install, run, report, go offline and leave."""


@walle_command(
    "walle fleet simulate\n"
    "walle fleet simulate --devices 1000000 --plot coverage.png\n"
    'walle fleet simulate --bad-share 0.05 --bad-where \'{"device": {"os": "android"}}\'\n'
    "walle fleet simulate --server http://127.0.0.1:8711 --task ocr --enrol $SECRET --devices 500"
)
@click.option(
    "--devices", type=click.IntRange(1, 20_000_000), default=10_000, show_default=True, help="How many."
)
@click.option(
    "--plan", "plan_file", type=click.Path(exists=True, dir_okay=False), help="Stages and gates, as TOML."
)
@click.option(
    "--bad-share",
    type=_SHARE,
    default=_HEALTHY,
    show_default=True,
    help="Share of the new version's runs that fail.",
)
@click.option(
    "--bad-where",
    metavar="POLICY",
    help="Only on devices that meet this policy, as JSON; elsewhere 1 % fail.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    help="Of the devices' time; default: 6, at a server 1.",
)
@click.option(
    "--until",
    type=_SHARE,
    default=0.99,
    show_default=True,
    help="Share of the devices that shall have the version.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn.")
@click.option(
    "--reporting", type=_SHARE, help="Share of devices that report; default: 50,000 devices at most."
)
@click.option("--verify", is_flag=True, help="All devices verify signatures, and not one in a hundred.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw coverage and failures over time.")
@click.option(
    "--server", metavar="URL", help="Ask this server through sockets; default: a platform in this process."
)
@click.option(
    "--token", envvar="WALLE_TOKEN", metavar="TOKEN", help="An operator's, for --server; also $WALLE_TOKEN."
)
@click.option(
    "--enrol", envvar="WALLE_ENROL", metavar="SECRET", help="Enrolment secret, with which devices register."
)
@click.option(
    "--server-folder",
    type=click.Path(exists=True, file_okay=False),
    help="The server's, instead of --enrol: its secret makes all tokens.",
)
@click.option("--task", metavar="NAME", help="At the server: whose release is followed.")
@click.option("--version", type=click.IntRange(1), help="At the server: release this version by --plan.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="At the server: processes."
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="At the server: seconds of the devices' time in a real one.",
)
@json_option
def simulate(**options: Any) -> None:
    """Release a version to simulated devices, and see how far it comes.

    Without --server, a platform is made in this process, with a task that all devices have in version 1, and a clock that
    runs as fast as the devices are answered. It approves what a person would. Every answer is held against the plan.
    Status 1 if the time is over before the version is everywhere, or rolled back everywhere.
    """  # fmt: skip
    from walle_deploy.fleet.drawing import draw
    from walle_deploy.fleet.showing import Show, plain, rows

    at_server = [name for name in ("task", "version", "enrol", "server_folder") if options[name] is not None]
    if not options["server"] and [name for name in at_server if name != "enrol"]:
        raise click.UsageError(f"--{at_server[0].replace('_', '-')} is for a server; name it with --server")
    if options["server"] and options["plan_file"] and options["version"] is None:
        raise click.UsageError("--plan needs --version N, which is released by it")
    if options["server"] and not options["task"]:
        raise click.UsageError("--server needs --task NAME")
    with Show(options["as_json"]) as show:
        story = _at_server(options, show) if options["server"] else _here(options, show)
    if options["plot"]:
        draw(story, options["plot"])
    if options["as_json"]:
        print_json(plain(story))
    else:
        print_table(("", ""), rows(story))
    if not story.done:
        raise SystemExit(FAILED)


def _nature(options: dict[str, Any], **more: Any) -> Nature:
    from walle_deploy.fleet.fleet import Nature
    from walle_deploy.fleet.outcomes import Failing

    where = None
    if options["bad_where"] is not None:
        try:
            where = json.loads(options["bad_where"])
        except ValueError as error:
            raise DeployError(
                f'--bad-where: no JSON: {error}; give a policy such as {{"device": {{"os": "ios"}}}}'
            ) from error
    bad = [Failing(options["bad_share"], where), *([Failing(_HEALTHY)] if where is not None else [])]
    return Nature(
        seed=options["seed"],
        reporting=_share(options),
        verify=1.0 if options["verify"] else 0.01,
        failing={more.pop("old", "v1"): _HEALTHY, more.pop("new", "v2"): bad},
        **more,
    )


def _share(options: dict[str, Any]) -> float:
    from walle_deploy.fleet.plans import reporting

    given = options["reporting"]
    return reporting(options["devices"]) if given is None else float(given)


def _plan(options: dict[str, Any], *, simulation: bool) -> dict[str, Any]:
    from walle_deploy.fleet.plans import quick

    if options["plan_file"]:
        return read_plan(options["plan_file"])
    return quick(options["devices"], _share(options), simulation=simulation)


def _here(options: dict[str, Any], show: Any) -> Story:
    from walle_deploy.fleet.own import OLD, TASK
    from walle_deploy.fleet.population import Population
    from walle_deploy.fleet.simulate import simulate as run

    nature = _nature(options, start={TASK: f"v{OLD}"})
    plan, hours = _plan(options, simulation=True), options["hours"] or 6.0
    return run(
        Population(options["devices"], options["seed"]),
        nature,
        plan,
        hours=hours,
        until=options["until"],
        on_scene=show,
    )


def _at_server(options: dict[str, Any], show: Any) -> Story:
    from walle_deploy.client.api import DeployClient
    from walle_deploy.fleet.load import Way
    from walle_deploy.fleet.remote import Aim, director_of, names, simulate_at
    from walle_deploy.server.folder import secret

    folder, speed = options["server_folder"], options["speed"]
    way = Way(
        url=options["server"],
        enrol=options["enrol"] or "",
        secret=secret(Path(folder)) if folder else b"",
        speed=speed,
    )
    with DeployClient(options["server"], options["token"] or "") as client:
        plan = None if options["version"] is None else _plan(options, simulation=False)
        aim = Aim(task=options["task"], version=options["version"], plan=plan)
        new, old = names(client, aim)
        return simulate_at(
            client,
            aim,
            options["devices"],
            _nature(options, new=new, old=old),
            way,
            workers=options["workers"],
            seconds=(options["hours"] or 1.0) * 3600 / speed,
            until=options["until"],
            director=director_of(options["server"]),
            on_scene=show,
        )


command.add_command(simulate, "simulate")
