"""``walle cache``."""

from __future__ import annotations

import time

import click

from walle_core.cache import cache_folder
from walle_core.cli.common import json_option, print_json, print_table, walle_command
from walle_core.planfile import kept, model_of


@walle_command("walle cache\nwalle cache --clear      # the next start of every model plans anew")
@click.option("--clear", is_flag=True, help="Remove the plans. Measured rates stay.")
@json_option
def command(clear: bool, as_json: bool) -> None:
    """List the plans kept on disk, or remove them.

    A plan is kept when a Session is opened from a model file whose inputs have fixed shapes; the next start takes it
    from here. WALLE_CACHE names the folder, WALLE_CACHE_LIMIT the bytes that all plans may take (4 GiB; 0 keeps none).
    """
    rows = [
        {"file": str(path), "bytes": size, "last_used": used, "model": model_of(path)}
        for path, size, used in kept()
    ]
    if clear:
        for path, _, _ in kept():
            path.unlink(missing_ok=True)
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
    if clear:
        click.echo(f"removed {len(rows)} plans")
