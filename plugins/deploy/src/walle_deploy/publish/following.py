"""A release as it goes on: its standing whenever it changes, shown live on a terminal, as lines elsewhere."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from walle_core.cli.common import console
from walle_deploy.client.api import DeployClient
from walle_deploy.client.http import ServerError, printable
from walle_deploy.server.types import ReleaseInfo

POLL_S = 5.0  # at most between two looks, where no event says that there is something to see
LOST_S = 120.0  # without a server, after which nobody waits any longer
_COLORS = {"running": "cyan", "paused": "yellow", "finished": "green", "rolled back": "red", "revoked": "red"}
ACTIVE = ("running", "paused")


def follow(client: DeployClient, release: int, poll_s: float = POLL_S) -> Iterator[ReleaseInfo]:
    """The release now and after each change, until it ends. Raises ServerError if the server stays away for `LOST_S`."""
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    over = threading.Event()
    threading.Thread(target=_listen, args=(client, release, woken, over), daemon=True).start()
    last, heard = None, time.monotonic()
    try:
        while True:
            try:
                found = client.release(release)
                heard = time.monotonic()
            except ServerError as error:
                if error.status or time.monotonic() - heard > LOST_S:
                    raise
            else:
                if found != last:
                    yield found
                last = found
                if found.status not in ACTIVE:
                    return
            try:
                woken.get(timeout=poll_s)
            except queue.Empty:
                continue
    finally:
        over.set()


def _listen(
    client: DeployClient, release: int, woken: queue.SimpleQueue[None], over: threading.Event
) -> None:
    """Wakes the follower at each change of its release; where the server has no events, looking now and then does."""
    while not over.is_set():
        try:
            for change in client.events():
                if over.is_set():
                    return
                if change.release == release:
                    woken.put(None)
        except ServerError as error:
            if error.status in {401, 403, 404, 405}:
                return
        over.wait(POLL_S)


def show(client: DeployClient, release: int) -> ReleaseInfo:
    """Shows a release until it ends; returns how it did."""
    found: ReleaseInfo | None = None
    if not sys.stdout.isatty():
        said = ""
        for found in follow(client, release):
            if (line := summary(found)) != said:
                click.echo(line)
                said = line
    else:
        devices = client.counts().devices
        with Live(console=console(), refresh_per_second=4) as live:
            for found in follow(client, release):
                live.update(picture(found, devices))
    assert found is not None  # `follow` raises or yields
    return found


def summary(release: ReleaseInfo) -> str:
    """One line for a log."""
    standing = release.standing
    return printable(f"{release.task} {standing.line}{_arms(release)}")


def _arms(release: ReleaseInfo) -> str:
    test = next((test for test in release.standing.tests if test.name == "failures"), None)
    if test is None or not test.treatment[0]:
        return ""
    return f" [failed: {rate(test.treatment)} of the new version, {rate(test.control)} of the control]"


def rate(arm: tuple[int, float]) -> str:
    """Failures of reports, as people read them."""
    reports, failed = arm
    return f"{failed:.0f} of {reports} ({failed / reports:.2%})" if reports else "no reports"


def picture(release: ReleaseInfo, devices: int | None = None) -> Table:
    """Everything about a release, as a table of names and values."""
    standing = release.standing
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    title = Text(f"{release.task} {standing.version}")
    if standing.previous:
        title.append(f" after {standing.previous}")
    table.add_row(f"release {release.id}", title)
    table.add_row("status", Text(standing.status, style=_COLORS.get(standing.status, "")))
    for name, value in details(release, devices):
        table.add_row(name, Text(printable(value)))
    return table


def details(release: ReleaseInfo, devices: int | None = None) -> Iterator[tuple[str, str]]:
    """Names and values of what there is to say beside the status; `devices` are all that the server knows."""
    standing = release.standing
    steps = "●" * standing.stage + "○" * (standing.stages - standing.stage)
    yield "stage", f"{steps} {standing.stage} of {standing.stages}, {standing.title}"
    yield (
        "reached",
        f"{release.reached} devices" if devices is None else f"{release.reached} of {devices} devices",
    )
    if standing.status in ACTIVE:
        yield (
            "admits",
            f"{standing.share:.4%} of devices, {standing.control:.4%} of them keep the old version",
        )
    for test in standing.tests:
        if test.name == "failures":
            yield "failed, new", rate(test.treatment)
            yield "failed, control", rate(test.control)
        else:
            yield test.name, f"{test.treatment[1]:.4g} against {test.control[1]:.4g} of the control"
        if test.treatment[0]:
            yield "", f"p = {test.p_value:.2g}, rolled back below {test.alpha:g}"
    for gate in standing.gates:
        yield ("✓ " if gate.met else "· ") + gate.name, gate.why
    yield "so", standing.line


def plain(release: ReleaseInfo, devices: int | None = None) -> list[tuple[str, Any]]:
    """The picture's rows for a file or pipe."""
    return [
        (f"release {release.id}", f"{release.task} {release.standing.version}"),
        ("status", release.standing.status),
        *((name, printable(value)) for name, value in details(release, devices)),
    ]
