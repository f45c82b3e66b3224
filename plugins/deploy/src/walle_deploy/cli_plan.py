"""``walle task`` commands around releases: plan, policy, explain, login."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, print_json, print_table, walle_command
from walle_deploy.cli_release import read_plan, task_option
from walle_deploy.errors import DeployError, PolicyError

if TYPE_CHECKING:
    from walle_deploy.release.plan import Plan
    from walle_deploy.server.types import Explanation, PolicyLine


@walle_command(
    "walle task plan > careful.toml\nwalle task plan careful.toml\nwalle task plan --fleet 5000 --beta staff"
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--fleet", type=click.IntRange(1), help="Devices there are: with few, stages wait for fewer reports."
)
@click.option("--beta", metavar="SEGMENT", help="Who goes first: a segment's name.")
@click.option("--beta-device", multiple=True, metavar="ID", help="Who goes first: a device's id.")
@click.option("--first", is_flag=True, help="For a task's first version, which nothing can be compared with.")
@click.option("--fast", is_flag=True, help="For a fix that cannot wait.")
@json_option
def plan(
    file: str | None,
    fleet: int | None,
    beta: str | None,
    beta_device: tuple[str, ...],
    first: bool,
    fast: bool,
    as_json: bool,
) -> None:
    """Print the standard plan, to be edited; or check a plan's FILE and say what it comes to."""
    from walle_deploy.offered import installed_gates
    from walle_deploy.release import standard
    from walle_deploy.release.plan import plan_from

    if file is None:
        values = (
            standard.fast(first=first)
            if fast
            else standard.standard(first=first, beta_policy=beta, beta_devices=beta_device, fleet=fleet)
        )
        if as_json:
            print_json(values)
        else:
            click.echo(standard.to_toml(values), nl=False)
        return
    values = read_plan(file)
    found = plan_from(values, installed_gates())
    rows = [_stage_row(found, number, fleet) for number in range(len(found.stages))]
    if as_json:
        print_json(
            {"plan": file, "ok": True, "stages": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
        )
        return
    print_table([">stage", *_COLUMNS[1:]], rows)
    if found.watch:
        click.echo(f"After the last stage has begun, failures are compared for {_time(found.watch)} more.")
    click.echo(f"Of harmless releases at most {found.alpha:.2%} are rolled back for failures.")


_COLUMNS = ("stage", "admits", "control", "waits for")


def _stage_row(plan: Plan, number: int, fleet: int | None) -> tuple[str, ...]:
    from walle_deploy.release.plan import BUCKETS

    stage = plan.stages[number]
    share = stage.threshold / BUCKETS
    if stage.kind == "beta":
        admits = ", ".join(
            [
                *([f"segment {stage.policy}"] if stage.policy else []),
                *([f"{len(stage.devices)} devices"] if stage.devices else []),
            ]
        )
    else:
        admits = f"{share:.4%}" if stage.kind == "gray" else "nobody" if stage.kind == "simulation" else "all"
        if fleet is not None and share:
            admits += f", about {fleet * share:.0f} devices"
    control = f"{stage.control:.2%}" if stage.kind != "simulation" else ""
    return (
        str(number + 1),
        f"{stage.title}: {admits}",
        control,
        "; ".join(map(_gate, stage.gates)) or "reports",
    )


def _gate(values: dict[str, Any]) -> str:
    kind = values["kind"]
    if kind == "time":
        return _time(values["seconds"])
    if kind == "sample":
        return f"{values['reports']} reports of each arm"
    if kind == "approval":
        return f"{values.get('approvers', 1)} approvals"
    if kind == "budget":
        return f"at most {values['per_minute']} devices a minute"
    return f"{kind} {values.get('name', '')}".strip()


def _time(seconds: float) -> str:
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


@walle_command(
    'walle task policy\nwalle task policy beta-phones.toml\necho \'{"devices": ["phone-17"]}\' | walle task policy -'
)
@click.argument("file", required=False)
@task_option
@click.option("--segment", metavar="NAME", help="The policy that a name stands for, instead of a task's.")
@json_option
def policy(file: str | None, task: str | None, segment: str | None, as_json: bool) -> None:
    """Show for whom a task is, or set it from a FILE of TOML or JSON; - reads JSON or TOML from the input."""
    from walle_deploy.policies.compiling import Compiler
    from walle_deploy.publish import asking

    values = None if file is None else _read_policy(file)
    name = segment or asking.task_here(task)
    with asking.client_here() as client:
        if values is not None:
            Compiler(_Unknown(), None).compile(values, name)  # the server knows the segments
            if segment:
                client.set_segment(segment, values)
            else:
                client.task(name, create=True)
                client.set_policy(name, values)
        now = client.segment(segment) if segment else client.task(name).policy
    if as_json:
        print_json({"name": name, "policy": now})
    elif now is None:
        raise DeployError(
            f"there is no segment {name!r}; `walle task policy FILE --segment {name}` makes one"
        )
    else:
        click.echo(json.dumps(now, indent=1, ensure_ascii=False))


class _Unknown(dict[str, Any]):
    """Segments that only the server knows: each may stand where a policy may."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return {"everyone": True}


def _read_policy(file: str) -> Any:
    try:
        text = sys.stdin.read(1 << 24) if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{file}: cannot be read: {error}") from error
    try:
        return json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{file}: neither JSON nor TOML: {error}") from error


@walle_command("walle task explain phone-17\nwalle task explain phone-17 --task ipv --json")
@click.argument("device")
@task_option
@json_option
def explain(device: str, task: str | None, as_json: bool) -> None:
    """Why a DEVICE gets this task, and which version of it, or why not."""
    from walle_deploy.client.http import printable
    from walle_deploy.publish import asking

    name = asking.task_here(task)
    with asking.client_here() as client:
        found = client.explain(device, name)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
        return
    for line in _explained(found):
        click.echo(printable(line))


def _explained(found: Explanation) -> Iterator[str]:
    runs = f"runs {found.running}, " if found.running else ""
    yield f"{found.device} {runs}should run {found.wanted or 'nothing'} of {found.task}: {found.why}"
    if not found.known:
        yield "it has not described itself yet, and is taken for one without attributes"
    yield "policy:"
    yield from _policy_lines(found.policy, 1)
    if found.standing is not None:
        at = found.standing
        yield f"release {found.release}, stage {at.stage}, {at.title}: {at.offer.why}"
        yield f"  bucket {at.bucket}, of the stage are those below {at.threshold}"
        yield f"  control draw {at.control_draw}, the control are those below {at.control_threshold}"


def _policy_lines(line: PolicyLine, depth: int) -> list[str]:
    word = {True: "yes", False: "no", None: "unknown"}[line.verdict]
    made = [f"{'  ' * depth}{word}: {line.label}" + (f" ({line.detail})" if line.detail else "")]
    return made + [text for part in line.parts for text in _policy_lines(part, depth + 1)]


@walle_command("walle task login https://walle.example.com\nwalle task login --forget")
@click.argument("server", required=False)
@click.option("--forget", is_flag=True, help="Remove the token that is kept for the server.")
def login(server: str | None, forget: bool) -> None:
    """Keep a token for a SERVER in a file that only you can read; it is asked for, or read from the input."""
    from walle_deploy.client.settings import remember
    from walle_deploy.publish import asking

    named = server or os.environ.get("WALLE_SERVER") or asking.config_here()("server")
    if not named:
        raise DeployError("which server? `walle task login https://…`")
    if forget:
        click.echo(f"{remember(named, '')}: forgot the token for {named}")
        return
    token = click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline(4096)
    _check_token(named, token.strip())
    click.echo(f"{remember(named, token.strip())}: kept the token for {named}")


def _check_token(server: str, token: str) -> None:
    """Raises DeployError unless the server takes it."""
    from attrs import evolve

    from walle_deploy.client.settings import settings
    from walle_deploy.publish import asking

    if not token:
        raise DeployError("no token was given; an administrator makes one")
    config = asking.config_here()
    found = settings(lambda name: server if name == "server" else config(name))
    with evolve(found, server=server.rstrip("/"), token=token).client() as client:
        client.tasks()


COMMANDS = {"plan": plan, "policy": policy, "explain": explain, "login": login}
