"""``walle task``: make a task, check it, commit it, tag versions, and look at what has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, print_json, print_table, progress, walle_command
from walle_deploy import cli_compile, cli_plan, cli_release, cli_simulate
from walle_deploy.errors import TaskError

if TYPE_CHECKING:
    from walle_deploy.task.findings import Finding
    from walle_deploy.task.sshsig import SigningKey
    from walle_deploy.task.worktree import WorkTree

_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Tasks as git: a branch per task, a signed tag per version. Works on the scenario of the current folder."""


def _here() -> WorkTree:
    from walle_deploy.task.worktree import WorkTree

    return WorkTree()


@walle_command("mkdir shop && cd shop\nwalle task init ipv\nwalle task init ranking --scenario shop")
@click.argument("name")
@click.option("--scenario", metavar="NAME", help="Name of a new scenario; default: the folder's.")
@json_option
def init(name: str, scenario: str | None, as_json: bool) -> None:
    """Make the task NAME, a small example that works, and check it out; in an empty folder also its scenario."""
    from walle_deploy.task.starter import example
    from walle_deploy.task.worktree import WorkTree

    files = example(name)
    tree = WorkTree.open_or_init(".", scenario)
    made = tree.start(name, files, f"The task {name}, from walle's example")
    if as_json:
        print_json({"task": name, "scenario": tree.scenario.name, "commit": made, "files": list(files)})
        return
    click.echo(f"{tree.folder}: scenario {tree.scenario.name}, task {name}: {', '.join(files)}")
    click.echo(
        "next: edit main.py and walle.toml, `walle task check`, `walle task commit -m …`, `walle task tag -m …`"
    )


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        click.secho(f"{finding.level:8}", fg=_COLORS[finding.level], nl=False)
        click.echo(f"{finding.where}: {finding.what}")
        if finding.fix:
            click.echo(f"{'':8}  -> {finding.fix}")
    errors = sum(f.level == "error" for f in findings)
    click.echo(f"{errors} error{'s' if errors > 1 else ''}" if errors else "everything fits")


@walle_command("walle task check\nwalle task check v3\nwalle task check --no-run --json")
@click.argument("revision", required=False)
@click.option("--run/--no-run", default=True, help="Also run the task once, on zeros or its sample.")
@json_option
def check(revision: str | None, run: bool, as_json: bool) -> None:
    """Prove that script, models, trigger and schema fit together: of the folder, or of a REVISION.

    Prints all findings; ends with status 1 if one is an error.
    """
    from walle_deploy.task.check import check as find

    tree = _here()
    files = tree.scenario.files(tree.task, revision) if revision else tree.files()
    with progress("checking"):
        findings = find(files, name=tree.task, run=run)
    failed = any(f.level == "error" for f in findings)
    if as_json:
        print_json({"task": tree.task, "ok": not failed, "findings": findings})
    else:
        _print(findings)
    if failed:
        raise click.exceptions.Exit(1)


@walle_command('walle task commit -m "Counts clicks on pictures too"')
@click.option("-m", "--message", required=True, help="What was wrong, and how it is solved.")
@json_option
def commit(message: str, as_json: bool) -> None:
    """Commit the folder as it is; `git commit` works as well."""
    tree = _here()
    made = tree.commit(message)
    if as_json:
        print_json({"task": tree.task, "commit": made})
    else:
        click.echo(f"task/{tree.task} {made[:12]} {message.splitlines()[0]}")


@walle_command('walle task revert v2\nwalle task revert ~1 -m "The picture clicks were counted twice"')
@click.argument("revision")
@click.option("-m", "--message", help="Why.")
@json_option
def revert(revision: str, message: str | None, as_json: bool) -> None:
    """Go back to the files of REVISION, by a new commit; the log keeps what came between."""
    tree = _here()
    made = tree.revert(revision, message)
    if as_json:
        print_json({"task": tree.task, "commit": made})
    else:
        click.echo(f"task/{tree.task} {made[:12]} has the files of {revision}")


def _key(path: str | None, tree: WorkTree) -> SigningKey:
    """The signing key: of the option, WALLE_SIGNING_KEY, or git's user.signingkey."""
    from walle_deploy.task.sshsig import SigningKey

    if path is None:
        try:
            path = tree.scenario.git.get_config_stack().get((b"user",), b"signingkey").decode()
        except KeyError:
            raise TaskError(
                "no key to sign with: give --key FILE or WALLE_SIGNING_KEY; make one with ssh-keygen -t ed25519"
            ) from None
    file = Path(path.removesuffix(".pub")).expanduser()
    return SigningKey.load(file, os.environ.get("WALLE_KEY_PASSWORD"))


@walle_command(
    'walle task tag -m "More clicks" --key ~/.ssh/id_ed25519\nWALLE_SIGNING_KEY=key walle task tag -m "Fix" ~1'
)
@click.argument("revision", required=False, default="")
@click.option("-m", "--message", required=True, help="What is new in this version.")
@click.option(
    "--key", metavar="FILE", envvar="WALLE_SIGNING_KEY", help="Ed25519 key; default: git's user.signingkey."
)
@json_option
def tag(revision: str, message: str, key: str | None, as_json: bool) -> None:
    """Make the next version of the newest commit (or REVISION): a signed tag. It must pass `check`.

    A key's password is read from WALLE_KEY_PASSWORD.
    """
    from walle_deploy.task.check import check as find

    tree = _here()
    if not revision and (changed := tree.changed()):
        raise TaskError(f"{changed[0]} has changes that are not committed; commit them, or name a revision")
    signer = _key(key, tree)
    commit = tree.scenario.resolve(tree.task, revision)
    with progress("checking"):
        findings = find(tree.scenario.files_of(commit), name=tree.task)
    if errors := [f for f in findings if f.level == "error"]:
        raise TaskError(
            f"{commit[:12]} does not pass the check, so it gets no version:\n" + "\n".join(map(str, errors))
        )
    made = tree.scenario.tag(tree.task, signer, message, commit)
    if as_json:
        print_json({"tag": made.tag, "commit": made.commit, "key": signer.public})
    else:
        click.echo(f"{made.tag} {made.commit[:12]}, signed by {signer.public}")


@walle_command("walle task verify v3 --allowed allowed_signers")
@click.argument("version")
@click.option(
    "--allowed",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Who may sign: a file as git's gpg.ssh.allowedSignersFile.",
)
@json_option
def verify(version: str, allowed: str, as_json: bool) -> None:
    """Prove that a VERSION is what an allowed key has signed, and is of this task."""
    from walle_deploy.task.sshsig import Signers

    tree = _here()
    number = version.rpartition("v")[2]
    if not number.isdecimal() or len(number) > 9:
        raise TaskError(f"{version!r} is no version; wanted one like v3")
    found = tree.scenario.verify(tree.task, int(number), Signers.load(allowed))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found.tag} {found.commit[:12]}: signed by {found.signer}")


@walle_command("walle task log\nwalle task log -n 5 --json")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="Commits at most.")
@json_option
def log(limit: int, as_json: bool) -> None:
    """The task's commits, newest first, with their versions."""
    tree = _here()
    versions = {v.commit: v for v in tree.scenario.versions(tree.task)}
    rows: list[dict[str, Any]] = [
        {
            "commit": e.id,
            "version": versions[e.id].number if e.id in versions else None,
            "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime(e.time)),
            "author": e.author,
            "message": e.message,
        }
        for e in tree.scenario.log(tree.task, limit)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("commit", "version", "time (UTC)", "author", "message"),
        [
            (r["commit"][:12], f"v{r['version']}" if r["version"] else "", r["time"], r["author"], (r["message"] or " ").splitlines()[0])
            for r in rows
        ],
    )  # fmt: skip


@walle_command("walle task diff\nwalle task diff v2\nwalle task diff v2 v3 --json")
@click.argument("old", required=False, default="")
@click.argument("new", required=False)
@json_option
def diff(old: str, new: str | None, as_json: bool) -> None:
    """What differs between OLD (default: the newest commit) and NEW (default: the folder): lines, tensors, bytes."""
    from walle_deploy.task.compare import compare

    tree = _here()
    after = tree.files() if new is None else tree.scenario.files(tree.task, new)
    changes = compare(tree.scenario.files(tree.task, old), after)
    if as_json:
        print_json(changes)
        return
    for change in changes:
        for line in change.text.splitlines():
            color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            click.secho(line, fg=color)


for made, name in (
    (init, "init"), (check, "check"), (commit, "commit"), (revert, "revert"), (tag, "tag"), (verify, "verify"), (log, "log"), (diff, "diff"),
):  # fmt: skip
    command.add_command(made, name)
for name, made in {
    **cli_compile.COMMANDS,
    **cli_release.COMMANDS,
    **cli_plan.COMMANDS,
    **cli_simulate.COMMANDS,
}.items():
    command.add_command(made, name)
