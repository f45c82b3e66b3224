"""``walle cache``."""

from __future__ import annotations

import time

import click

from walle_core.cache import cache_folder
from walle_core.cli.common import json_option, print_json, print_table, walle_command
from walle_core.planfile import drop_all, kept, model_of
from walle_core.tuned import forget_tuned


@walle_command(
    "walle cache\n"
    "walle cache --clear      # the next start of every model plans anew\n"
    "walle cache --untune     # and chooses by prediction again"
)
@click.option("--clear", is_flag=True, help="Remove the plans. Measured rates stay.")
@click.option("--untune", is_flag=True, help="Remove the plans and what `walle tune` measured.")
@json_option
def command(clear: bool, untune: bool, as_json: bool) -> None:
    """List the plans kept on disk, or remove them.

    A plan is kept when a Session is opened from a model file whose inputs have fixed shapes; the next start takes it
    from here. WALLE_CACHE names the folder, WALLE_CACHE_LIMIT the bytes that all plans may take (4 GiB; 0 keeps none).
    """
    rows = [
        {"file": str(path), "bytes": size, "last_used": used, "model": model_of(path)}
        for path, size, used in kept()
    ]
    if untune:
        click.echo(f"forgot what was tuned on {forget_tuned()} devices", err=True)
    if clear or untune:
        drop_all()
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"no plan in {cache_folder()}")
        return
    print_table(
        ("model", "MB", "last used", "file"),
        [
            (
                r["model"] or "damaged",
                f"{float(str(r['bytes'])) / 1e6:.1f}",
                time.strftime("%Y-%m-%d %H:%M", time.localtime(float(str(r["last_used"])))),
                r["file"],
            )
            for r in rows
        ],
    )
    if clear or untune:
        click.echo(f"removed {len(rows)} plans")
