"""``walle deploy``: make a server's folder, serve it, make tokens."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from walle_core.cli.common import json_option, print_json, walle_command

_FOLDER = click.Path(file_okay=False, path_type=Path)
_THERE = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False)
_PATH = click.Path(exists=True)

ADMIN_DAYS, ENROL_DAYS = 365, 3650


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The deployment server: tasks, releases and devices on a database, behind HTTP."""


def _setup(command: Any) -> Any:
    """Options that a server's file keeps and `serve` overrules."""
    for option in reversed(
        [
            click.option("--host", metavar="ADDRESS", help="Listen here; default 127.0.0.1."),
            click.option("--port", type=click.IntRange(0, 65535), help="Default 8711; 0: a free one."),
            click.option("--workers", type=click.IntRange(1, 256), help="Processes; default 1."),
            click.option(
                "--database", metavar="URL", help="postgresql://...; default: SQLite in the folder."
            ),
            click.option(
                "--store", metavar="URL", help="s3://bucket/path, or a folder; default: in the folder."
            ),
            click.option(
                "--base-url", metavar="URL", help="Where devices find files; default: here, /walle."
            ),
        ]
    ):
        command = option(command)
    return command


@walle_command(
    "walle deploy init data\n"
    "walle deploy init data --database postgresql://walle@db/walle --store s3://bucket/walle --base-url https://cdn.example"
)
@click.argument("folder", type=_FOLDER)
@_setup
@json_option
def init(folder: Path, as_json: bool, **options: Any) -> None:
    """Make the FOLDER of a server: keys, image repository, secret, database, and the first tokens, shown once.

    The keys `root` and `targets` sign what may run at all: keep their passphrase, and move them to where you sign. It is
    that of WALLE_KEY_PASSPHRASE, or a new one.
    """
    from walle_deploy.server.auth import Tokens
    from walle_deploy.server.database import Database
    from walle_deploy.server.folder import make
    from walle_deploy.trust.keys import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    passphrase = given or secrets.token_urlsafe(18)
    settings = make(
        folder, passphrase, **{name: value for name, value in options.items() if value is not None}
    )
    database = Database.open(settings.database_url)
    try:
        tokens = Tokens(database)
        admin = tokens.make("admin", "admin", ADMIN_DAYS)[1]
        enrol = tokens.make("devices", "enrol", ENROL_DAYS)[1]
    finally:
        database.close()
    made = {"folder": str(folder), "admin": admin, "enrol": enrol}
    if given is None:
        made["passphrase"] = passphrase
    if as_json:
        print_json(made)
        return
    click.echo(f"made {folder}; shown this once:")
    click.echo(f"  token of the first admin        {admin}")
    click.echo(f"  enrolment secret of devices     {enrol}")
    if given is None:
        click.echo(f"  passphrase of root and targets  {passphrase}")
    click.echo(
        f"next: who may sign versions into {folder}/allowed_signers, then `walle deploy serve {folder}`"
    )


@walle_command(
    "walle deploy serve data\n"
    "walle deploy serve data --simulate logs/ --cloud cloud.toml\n"
    "walle deploy serve data --workers 4 --host 0.0.0.0 --base-url https://deploy.example/walle --cert c.pem --key k.pem"
)
@click.argument("folder", type=_THERE)
@_setup
@click.option("--allowed-signers", type=_FILE, help="Who may sign versions; default: in the folder.")
@click.option("--cert", type=_FILE, help="Certificates for TLS, PEM.")
@click.option("--key", type=_FILE, help="Their key, PEM.")
@click.option(
    "--tunnel", metavar="WHERE", help="What devices stream is stored in this file or URL; `none`: no tunnel."
)
@click.option("--proxies", metavar="ADDRESSES", help="Proxies whose X-Forwarded-For is believed.")
@click.option(
    "--simulate",
    multiple=True,
    type=_PATH,
    help="Recorded events: releases in their simulation stage are judged by them.",
)
@click.option("--simulate-limits", type=_FILE, help="What a simulation must show, as TOML.")
@click.option("--simulate-schema", metavar="MODULE:NAME", help="The kinds of the application's events.")
@click.option(
    "--cloud", type=_FILE, help="File of `walle cloud serve`: the dashboard shows what samples cost."
)
def serve(folder: Path, **options: Any) -> None:
    """Serve the FOLDER that init made, until SIGINT or SIGTERM."""
    from walle_deploy.server.serve import serve as start
    from walle_deploy.server.settings import Settings

    for name in ("allowed_signers", "cert", "key", "simulate_limits", "cloud"):
        if options[name] is not None:
            options[name] = str(Path(options[name]).absolute())
    options["simulate"] = tuple(str(Path(each).absolute()) for each in options["simulate"])
    settings = Settings.load(folder, **options)
    start(settings, lambda url: click.echo(f"listening on {url} with {settings.workers} workers"))


@walle_command(
    "walle deploy token data --role operator --name alice\nwalle deploy token data --role enrol --name shop --days 30"
)
@click.argument("folder", type=_THERE)
@click.option(
    "--role", required=True, type=click.Choice(["viewer", "operator", "approver", "admin", "enrol"])
)
@click.option("--name", required=True, help="Whose it is.")
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), default=90.0, show_default=True)
@click.option("--database", metavar="URL", help="If it is not that of the folder's file.")
@json_option
def token(folder: Path, role: Any, name: str, days: float, database: str | None, as_json: bool) -> None:
    """Make a token on the server's machine, shown once."""
    from walle_deploy.server.auth import Tokens
    from walle_deploy.server.database import Database
    from walle_deploy.server.settings import Settings

    opened = Database.open(Settings.load(folder, database=database).database_url)
    try:
        number, made = Tokens(opened).make(name, role, days)
    finally:
        opened.close()
    if as_json:
        print_json({"id": number, "token": made})
    else:
        click.echo(made)


@walle_command("walle deploy root data > root.json")
@click.argument("folder", type=_THERE)
def root(folder: Path) -> None:
    """Print the newest root of the image metadata, which devices are made with."""
    from walle_deploy.trust import ImageRepository

    click.echo(ImageRepository(folder / "images").root(), nl=False)


@walle_command("walle deploy renew data\nwalle deploy renew data --role root")
@click.argument("folder", type=_THERE)
@click.option("--role", type=click.Choice(["root", "targets"]), default="targets", show_default=True)
@click.option(
    "--key", type=_FILE, metavar="FILE", help="Private key of the role; default: where init put it."
)
@json_option
def renew(folder: Path, role: str, key: str | None, as_json: bool) -> None:
    """Sign a role of the image metadata again, before it expires: the log and /metrics of the server say when.

    The server may run meanwhile. The passphrase is that of WALLE_KEY_PASSPHRASE, or asked for.
    """
    from walle_deploy.server.folder import online_keys
    from walle_deploy.server.images import Images
    from walle_deploy.trust import load_key
    from walle_deploy.trust.keys import PASSPHRASE_VARIABLE, from_environment, from_terminal

    ask = from_environment() if os.environ.get(PASSPHRASE_VARIABLE) else from_terminal
    signing = load_key(key or folder / "keys" / role, ask)
    online = online_keys(folder)
    images = Images(folder / "images", (online["snapshot"], online["timestamp"]))
    proposal = images.renew(role)
    images.sign(role, signing.public.tuf.keyid, signing.private.sign(proposal.metadata))
    images.publish()
    expires = images.expires()[role]
    if as_json:
        print_json({"role": role, "expires": expires})
    else:
        click.echo(f"{role} is signed again, until {datetime.fromtimestamp(expires, UTC):%Y-%m-%d}")


for _each in (init, serve, token, root, renew):
    command.add_command(_each)
