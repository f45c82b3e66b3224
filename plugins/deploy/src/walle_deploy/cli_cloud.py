"""``walle cloud``: answer samples of which tasks are not confident, and see what that costs."""

from __future__ import annotations

from pathlib import Path

import click

from walle_core.cli.common import json_option, print_json, print_table, si, walle_command

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Larger models for samples that come from devices through the tunnel."""


@walle_command("walle cloud serve cloud.toml\nwalle cloud serve cloud.toml --port 0")
@_FILE
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of the file's; 0: a free one.")
def serve(file: Path, port: int | None) -> None:
    """Answer samples as FILE says, until it is interrupted.

    \b
    sink = "tunnel.db"                 # or nats:// or postgresql://
    database = "sqlite:///cloud.db"
    server = "data"                    # folder of the deployment server: its secret makes devices' tokens
    [[task]]
    declared = "digits/walle.toml"     # of the task on devices
    model = "large.onnx"               # or a task's folder, or module:function
    [price]
    cpu_hour = 0.04
    gb = 0.08
    """
    from walle_deploy.cloud.asgi import CloudApp
    from walle_deploy.cloud.config import authenticate_of, read, service_of
    from walle_deploy.cloud.serve import serve as start

    text = read(file)
    service = service_of(text, file.parent)
    try:
        app = CloudApp(service, authenticate_of(text, file.parent))
        start(app, text, file.parent, port, lambda url: click.echo(f"{url} <- {text.sink}", err=True))
    finally:
        service.store.close()


@walle_command("walle cloud costs cloud.toml\nwalle cloud costs cloud.toml --days 7 --json")
@_FILE
@click.option("--days", type=click.IntRange(1), help="Of the last days; default: of all.")
@json_option
def costs(file: Path, days: int | None, as_json: bool) -> None:
    """Show what samples cost, by task and version: how many, what share of the runs, bytes, time and money."""
    import msgspec

    from walle_deploy.cloud.shown import Shown

    shown = Shown(file)
    try:
        rows = shown.costs(days)
    finally:
        shown.close()
    if as_json:
        print_json([msgspec.structs.asdict(row) for row in rows])
        return
    print_table(
        ("task", "version", ">runs", ">samples", ">share", ">set aside", ">up", ">down", ">model", ">processor", ">money"),
        [
            (
                row.task or "?", row.version or "?", f"{row.runs:,}", f"{row.samples:,}",
                "" if row.share is None else f"{row.share:.1%}", f"{row.aside:,}", si(row.bytes_up, "B"),
                si(row.bytes_down, "B"), si(row.ms / 1e3, "s"), si(row.cpu_ms / 1e3, "s"), f"{row.money:.4f} {row.currency}",
            )
            for row in rows
        ],
    )  # fmt: skip


command.add_command(serve, "serve")
command.add_command(costs, "costs")
