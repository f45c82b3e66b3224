"""``walle task release`` and what follows it: status, approve, pause, resume, rollback, revoke."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, print_json, print_table, si, walle_command
from walle_deploy.errors import DeployError, ReleaseError

if TYPE_CHECKING:
    from walle_deploy.publish.publishing import Published
    from walle_deploy.server.types import ReleaseInfo

task_option = click.option("--task", metavar="NAME", help="Default: the task of the current folder.")
release_argument = click.argument("release", required=False, type=click.IntRange(1))
FAILED = 1  # exit status of a release that did not finish


def read_plan(path: str) -> dict[str, Any]:
    """The plan in a TOML file, checked. Raises ReleaseError."""
    from walle_deploy.offered import installed_gates
    from walle_deploy.release.plan import plan_from

    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path}: no release plan: {error}; `walle task plan` prints one") from error
    try:
        plan_from(values, installed_gates())
    except ReleaseError as error:
        raise ReleaseError(f"{path}: {error}") from error
    return values


@walle_command(
    "walle task release v3 --wait\nwalle task release v3 --plan careful.toml\nwalle task release v4 --fast --wait"
)
@click.argument("version")
@task_option
@click.option(
    "--plan", "plan_file", type=click.Path(exists=True, dir_okay=False), help="Stages and gates, as TOML."
)
@click.option(
    "--fast",
    is_flag=True,
    help="To all devices at once, but one in ten that keep the old version for an hour.",
)
@click.option("--beta", metavar="SEGMENT", help="Who goes first in the plan that is taken without --plan.")
@click.option("--no-simulation", is_flag=True, help="That plan begins without a simulation.")
@click.option("--allowed", type=click.Path(exists=True, dir_okay=False), help="Who may sign versions.")
@click.option(
    "--image-key", metavar="FILE", help="Key that signs the image; default: git config deploy.imageKey."
)
@click.option(
    "--known-key", multiple=True, metavar="FILE", help="Public key that signed the images before yours."
)
@click.option("--publish-only", is_flag=True, help="Bring the version to the server, and release nothing.")
@click.option("--wait", is_flag=True, help="Follow the release until it ends; status 1 if it is rolled back.")
@json_option
def release(
    version: str,
    task: str | None,
    plan_file: str | None,
    fast: bool,
    beta: str | None,
    no_simulation: bool,
    allowed: str | None,
    image_key: str | None,
    known_key: tuple[str, ...],
    publish_only: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Release a VERSION: bring it to the server if it is not there, and begin with the first stage of a plan.

    The version's tag must be signed by an allowed key. What was sent before is not sent again.
    """
    from walle_deploy.publish import asking
    from walle_deploy.release import standard

    if plan_file and (fast or beta or no_simulation):
        raise click.UsageError("--plan says all of the stages; leave out --fast, --beta and --no-simulation")
    number = asking.version_number(version)
    name = asking.task_here(task)
    plan = read_plan(plan_file) if plan_file else None
    with asking.client_here() as client:
        published = _published(client, name, number, allowed, image_key, known_key)
        made = None
        if not publish_only:
            if plan is None:
                first, fleet = client.task(name).stable is None, client.counts().devices or None
                plan = (
                    standard.fast(first=first)
                    if fast
                    else standard.standard(
                        first=first, beta_policy=beta, fleet=fleet, simulation=not no_simulation
                    )
                )
            made = client.create_release(name, number, plan)
        if not as_json:
            _say(
                published, made, f"v{number}" if plan and plan["stages"][0]["kind"] == "simulation" else None
            )
        ended = _wait(client, made, quiet=as_json) if wait and made is not None else None
    if as_json:
        print_json({"published": published, "release": made, **({"status": ended} if ended else {})})
    if ended not in {None, "finished"}:
        raise click.exceptions.Exit(FAILED)


def _published(
    client: Any,
    name: str,
    number: int,
    allowed: str | None,
    image_key: str | None,
    known_key: tuple[str, ...],
) -> Published | None:
    """None if there is no scenario here and the server has the version."""
    from walle_deploy.publish import asking
    from walle_deploy.publish.progress import shown
    from walle_deploy.publish.publishing import publish, version_of
    from walle_deploy.trust.keys import load_public

    tree = asking.scenario_here()
    known = version_of(client.task(name, create=tree is not None), number)
    if known is not None and known.published:
        return None
    if tree is None:
        raise DeployError(f"the server has no {name} v{number}, and no scenario is here to publish it from")
    signers = asking.allowed_signers(allowed, tree)
    tree.scenario.verify(name, number, signers)  # before anyone is asked for a passphrase
    key = asking.image_key(image_key, tree)
    keys = [load_public(path) for path in known_key]
    with shown() as watcher:
        return publish(client, tree.scenario, name, number, signers, key, watcher, known_keys=keys)


def _say(published: Published | None, release: int | None, simulated: str | None) -> None:
    if published is not None:
        files = f"{published.files.files} files sent ({si(published.files.bytes, 'B')}), {published.files.there} were there"
        share = published.delta_share
        small = f"; from the last version {share:.2%} of what changed" if share is not None else ""
        click.echo(f"{published.task} v{published.number} is on the server: {files}{small}")
    if release is not None:
        click.echo(f"release {release} has begun; `walle task status {release} --watch` shows it")
        if simulated:
            click.echo(f"next: `walle task simulate {simulated} --logs … --release {release}`")


def _wait(client: Any, release: int, *, quiet: bool) -> str:
    from walle_deploy.publish.following import follow, show

    if quiet:
        *_, last = follow(client, release)
    else:
        last = show(client, release)
    return str(last.standing.status)


@walle_command("walle task status\nwalle task status 7 --watch\nwalle task status --json")
@release_argument
@task_option
@click.option("--watch", is_flag=True, help="Go on until the release ends; status 1 if it is rolled back.")
@click.option("--all", "everything", is_flag=True, help="The releases of all tasks, one line each.")
@json_option
def status(release: int | None, task: str | None, watch: bool, everything: bool, as_json: bool) -> None:
    """Where a RELEASE stands and why it waits; without a number, the task's running one, or its last."""
    from walle_deploy.publish import asking, following

    with asking.client_here() as client:
        if everything or (release is None and task is None and asking.scenario_here() is None):
            _list(client.releases(task), as_json)
            return
        found = asking.release_meant(client, release, task)
        if watch:
            if as_json:
                for now in following.follow(client, found.id):
                    click.echo(_json_line(now))
                    found = now
            else:
                found = following.show(client, found.id)
            if found.standing.status != "finished":
                raise click.exceptions.Exit(FAILED)
            return
    if as_json:
        print_json(_plain(found))
    else:
        print_table(("release", str(found.id)), following.plain(found)[1:])


def _list(found: list[ReleaseInfo], as_json: bool) -> None:
    if as_json:
        print_json([_plain(each) for each in found])
        return
    print_table(
        (">release", "task", "version", "status", "stage"),
        [
            (each.id, each.task, each.standing.version, each.standing.status, each.standing.title)
            for each in found
        ],
    )


def _plain(release: ReleaseInfo) -> Any:
    import msgspec

    return msgspec.to_builtins(release)


def _json_line(release: ReleaseInfo) -> str:
    import msgspec

    return msgspec.json.encode(release).decode()


def _changing(name: str, summary: str, examples: str, must_say_why: bool = False) -> click.Command:
    """A command that changes a release: of the task here, or of a number."""

    @walle_command(examples)
    @release_argument
    @task_option
    @click.option("-m", "--message", required=must_say_why, help="Why; kept in the audit log.")
    @json_option
    def changing(release: int | None, task: str | None, message: str | None, as_json: bool) -> None:
        from walle_deploy.client.http import printable
        from walle_deploy.publish import asking

        with asking.client_here() as client:
            found = asking.release_meant(client, release, task)
            getattr(client, name)(found.id, message or "")
            now = client.release(found.id)
        if as_json:
            print_json(_plain(now))
        else:
            click.echo(printable(f"release {now.id}: {now.task} {now.standing.line}"))

    changing.help = summary
    return changing


approve = _changing(
    "approve", "Approve what the current stage has shown.", "walle task approve\nwalle task approve 7"
)
pause = _changing(
    "pause",
    "Admit nobody new and let no stage end, until it is resumed.",
    'walle task pause -m "looking at a crash"',
)
resume = _changing("resume", "Go on after a pause.", "walle task resume")
rollback = _changing(
    "rollback", "End a release: all devices go back to the version before.",
    'walle task rollback -m "wrong prices"\nwalle task rollback 7 -m "wrong prices"', must_say_why=True,
)  # fmt: skip


@walle_command(
    'walle task revoke v3 -m "leaks addresses"\nwalle task revoke v3 -m "leaks addresses" --server-only'
)
@click.argument("version")
@task_option
@click.option("-m", "--message", required=True, help="Why; devices are told.")
@click.option(
    "--image-key", metavar="FILE", help="Key that signs the image; default: git config deploy.imageKey."
)
@click.option(
    "--known-key", multiple=True, metavar="FILE", help="Public key that signed the images before yours."
)
@click.option(
    "--server-only", is_flag=True, help="Leave the signed image metadata as it is, if the key is not at hand."
)
@json_option
def revoke(
    version: str,
    task: str | None,
    message: str,
    image_key: str | None,
    known_key: tuple[str, ...],
    server_only: bool,
    as_json: bool,
) -> None:
    """Take a VERSION from all devices, for ever: no release offers it again, and no device takes it from anyone."""
    from walle_deploy.publish import asking, publishing
    from walle_deploy.trust.keys import load_public

    number, name = asking.version_number(version), asking.task_here(task)
    with asking.client_here() as client:
        if server_only:
            client.revoke(name, number, message)
        else:
            key = asking.image_key(image_key, asking.scenario_here())
            publishing.revoke(client, name, number, message, key, [load_public(path) for path in known_key])
    if as_json:
        print_json({"task": name, "revoked": number, "image": not server_only})
    else:
        more = "" if server_only else ", nor takes it from another server"
        click.echo(f"{name} v{number} is revoked: no device is offered it any more{more}")


COMMANDS = {
    "release": release, "status": status, "approve": approve, "pause": pause, "resume": resume, "rollback": rollback,
    "revoke": revoke,
}  # fmt: skip
