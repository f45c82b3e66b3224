"""``walle agent``: one device of a fleet, as a process of its own."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, walle_command
from walle_deploy.agent.errors import AgentError

if TYPE_CHECKING:
    from walle_deploy.agent.agent import Agent
    from walle_deploy.agent.settings import Happening
    from walle_deploy.profile import Value

MAX_ROOT = 1 << 20  # bytes
BATCH = 200  # events that are fed at once
IDLE_S = 300.0  # that `--once` waits for runs


class _Printer:
    """Prints what happens, a line each, from any thread."""

    def __init__(self, as_json: bool) -> None:
        self._json, self._lock = as_json, threading.Lock()

    def __call__(self, happening: Happening) -> None:
        one = happening
        what: dict[str, Any] = {"kind": one.kind, "text": one.text, "task": one.task, "version": one.version}
        line = json.dumps(what | {"values": dict(one.values)}) if self._json else f"{one.kind:10} {one.text}"
        with self._lock:
            click.echo("".join(sign if sign.isprintable() else " " for sign in line))
            sys.stdout.flush()


def _value(text: str) -> Value:
    """A value of ``NAME=VALUE`` as JSON says it, else the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (bool, int, float, str, list)) else text


def _attributes(pairs: tuple[str, ...]) -> dict[str, Value]:
    for pair in pairs:
        if "=" not in pair or pair.startswith("="):
            raise click.UsageError(f"--user {pair!r}: wanted NAME=VALUE")
    return {name: _value(value) for name, _, value in (pair.partition("=") for pair in pairs)}


def _root(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_ROOT + 1)
    except OSError as error:
        raise AgentError(f"{path}: the root metadata cannot be read: {error.strerror}") from error
    if len(data) > MAX_ROOT:
        raise AgentError(f"{path}: too long for root metadata")
    return data


def _events(source: str) -> Iterator[list[Any]]:
    """Events of a file, or of standard input as they come; what is none goes to standard error and is passed over."""
    from walle_pipeline.errors import EventError
    from walle_pipeline.events import Schema
    from walle_pipeline.lines import events_of, lines

    if source != "-":
        batch: list[Any] = []
        for event in events_of(source, Schema.BASIC):
            batch.append(event)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch
        return
    for number, line, _ in lines(sys.stdin.buffer):
        if line.strip():
            try:
                yield [Schema.BASIC.decode(line.rstrip(b"\r\n"), "json")]
            except EventError as error:
                click.echo(f"walle: standard input, line {number} set aside: {error}", err=True)


def _feed(agent: Agent, source: str, over: threading.Event) -> None:
    """Feeds all events; waits while a sink holds back more than it may."""
    from walle_core.errors import WalleError

    for batch in _events(source):
        while batch and not over.is_set():
            try:
                agent.feed(batch)
                break
            except WalleError as error:
                click.echo(f"walle: {error}; again in a second", err=True)
                over.wait(1.0)
        if over.is_set():
            return


def _work(agent: Agent, source: str | None, once: bool, over: threading.Event) -> bool:
    """A check, then all events, and with `once` all runs and reports too; whether all of it went well."""
    done = agent.check()
    if source is not None:
        _feed(agent, source, over)
    if not once or over.is_set():
        return True
    if source is not None:
        agent.finish()
    done &= agent.idle(IDLE_S)
    return agent.flush() and done


def _serve(agent: Agent, source: str | None, once: bool) -> bool:
    """Works until SIGTERM, or with `once` until all is done; what `_work` says."""
    over = threading.Event()
    found: list[bool | BaseException] = []

    def work() -> None:
        try:
            found.append(_work(agent, source, once, over))
        except BaseException as error:
            found.append(error)
        if once or isinstance(found[0], BaseException):
            over.set()

    before = signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        agent.start(checks=not once)
        threading.Thread(target=work, name="walle-agent", daemon=True).start()
        over.wait()
    finally:
        over.set()
        agent.close()
        signal.signal(signal.SIGTERM, before)
    ended = found[0] if found else True
    if isinstance(ended, BaseException):
        raise ended
    return ended


@walle_command(
    "walle agent --server https://walle.example --root root.json --folder /var/lib/walle --enrol SECRET\n"
    "walle agent --server http://127.0.0.1:8700 --root root.json --folder state --events phone.jsonl --once\n"
    "app | walle agent --server https://walle.example --root root.json --folder state --events - --json"
)
@click.option("--server", required=True, metavar="URL", help="The deployment server.")
@click.option(
    "--root", required=True, type=click.Path(dir_okay=False), help="Root metadata that came with the device."
)
@click.option(
    "--folder", required=True, type=click.Path(file_okay=False), help="Of all that the agent keeps."
)
@click.option("--device", metavar="ID", default="", help="Default: one that the folder keeps.")
@click.option(
    "--enrol", metavar="SECRET", envvar="WALLE_ENROL", default="", help="Needed once; also WALLE_ENROL."
)
@click.option("--tunnel", metavar="URL", default="", help="For features, samples and reports; default: HTTP.")
@click.option(
    "--events", metavar="FILE", help="An event log, JSON lines, or - for JSON lines on standard input."
)
@click.option("--live", is_flag=True, help="The events happen now: time passes also without them.")
@click.option("--user", metavar="NAME=VALUE", multiple=True, help="An attribute of the user, for policies.")
@click.option("--app-version", metavar="VERSION", default="", help="Of the application, for policies.")
@click.option(
    "--every", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds between checks."
)
@click.option("--once", is_flag=True, help="Check once, run what the events ask for, report, end.")
@click.option(
    "--plain-http", is_flag=True, help="Allow http to another machine; the token is then not secret."
)
@json_option
def command(
    server: str,
    root: str,
    folder: str,
    device: str,
    enrol: str,
    tunnel: str,
    events: str | None,
    live: bool,
    user: tuple[str, ...],
    app_version: str,
    every: float,
    once: bool,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Run the agent of a device: check for tasks, install them, run them when events trigger them, report.

    Prints what happens, one line each. Ends at SIGTERM; killed at any moment, it goes on at the next start.
    """
    from walle_deploy.agent.agent import Agent
    from walle_deploy.agent.settings import Settings

    if events not in (None, "-") and not Path(str(events)).is_file():
        raise AgentError(f"{events}: there is no such file of events")
    made = Agent(
        folder,
        server,
        _root(root),
        device,
        enrol=enrol,
        user=_attributes(user),
        app_version=app_version,
        tunnel=tunnel,
        tell=_Printer(as_json),
        settings=Settings(every_s=every, tick_s=1.0 if live else 0.0),
        plain=plain_http,
    )
    if not _serve(made, events, once):
        raise click.exceptions.Exit(1)
