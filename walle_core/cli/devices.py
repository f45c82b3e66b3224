"""``walle devices``."""

from __future__ import annotations

from typing import Any

import click

from walle_core.cli.common import (
    json_option,
    print_json,
    print_table,
    progress,
    si,
    threads_option,
    walle_command,
)
from walle_core.cost import load_rates, rates_key, rates_of
from walle_core.errors import WalleError
from walle_core.plugins import load_plugins
from walle_core.types import DeviceRates


@walle_command(
    "walle devices\nwalle devices --threads 1 --json\nwalle devices --no-measure     # only what is installed"
)
@click.option("--measure/--no-measure", default=True, help="Measure devices that have not been measured yet.")
@threads_option
@json_option
def command(measure: bool, threads: int, as_json: bool) -> None:
    """List backends and devices with measured rates: P operations/s, B bytes/s, S seconds per dispatch.

    Each device is measured once per number of threads (at most 2 s) and remembered.
    """
    rows: list[dict[str, Any]] = []
    with progress("calibration") as step:
        for name, backend in load_plugins().backends.items():
            try:
                devices = backend.devices()
            except WalleError as error:
                rows.append({"backend": name, "device": "", "error": str(error)})
                continue
            if not devices:
                rows.append({"backend": name, "device": "", "error": "no device on this machine"})
            for device in devices:
                step(f"{name} on {device.name}")
                kept = load_rates(rates_key(backend, device, threads)) if not measure else None
                row: dict[str, Any] = {
                    "backend": name,
                    "device": device.name,
                    "traits": dict(device.traits),
                    "rates": kept,
                }
                try:
                    row["rates"] = rates_of(backend, device, threads, step) if measure else kept
                except WalleError as error:
                    row["error"] = str(error)
                rows.append(row)
    if as_json:
        print_json({"threads": threads, "devices": rows})
        return
    for row in rows:
        rates = row.get("rates")
        traits = " ".join(f"{k}={v}" for k, v in row.get("traits", {}).items())
        title = f"{row['backend']}: {' '.join(filter(None, (row['device'], row.get('error'))))}   {traits}"
        print_table(
            ("rate", "measured"),
            _rates(rates) if rates else [("not measured", "")] * bool(row["device"]),
            title=title,
        )


def _rates(rates: DeviceRates) -> list[tuple[str, str]]:
    rows = [(f"P {name}", si(value, "op/s")) for name, value in rates.ops_per_s.items()]
    rows += [(f"B up to {si(limit, 'B')}", si(value, "B/s")) for limit, value in rates.bytes_per_s]
    rows.append(("S per dispatch", si(rates.dispatch_s, "s")))
    rows.append(("S per run", si(rates.call_s, "s")))
    if rates.transfer_bytes_per_s != float("inf"):
        rows.append(("transfer", si(rates.transfer_bytes_per_s, "B/s")))
    return rows
