"""``walle plugins``."""

from __future__ import annotations

from walle_core import plugins
from walle_core.cli.common import json_option, print_json, print_table, walle_command


@walle_command(
    "walle plugins\nwalle plugins --json\nWALLE_STRICT_PLUGINS=1 walle plugins      # stop at the first broken plugin"
)
@json_option
def command(as_json: bool) -> None:
    """List installed plugins, what each offers, and why a broken one is broken."""
    rows = list(plugins.load_plugins().report.values())
    if as_json:
        print_json(rows)
        return
    print_table(
        ("plugin", "status", "version", "distribution", "offers"),
        [(r.name, r.status, r.version, r.distribution, r.error or _offers(r)) for r in rows],
    )


def _offers(row: plugins.PluginReport) -> str:
    parts = []
    for kind, names in row.offers.items():
        shown = ", ".join(names) if len(names) <= 8 else str(len(names))
        parts.append(f"{kind.replace('_', ' ')}: {shown}")
    return "; ".join(parts)
