"""``walle pipeline``: run, replay and explain flows; draw them; serve the tunnel; train its dictionary."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, print_json, print_table, progress, walle_command

if TYPE_CHECKING:
    from walle_pipeline.events import Event, Schema
    from walle_pipeline.flow import Flow

file_argument = click.argument("flow_file", metavar="FLOW.py", type=click.Path(exists=True, dir_okay=False))
events_option = click.option(
    "--events",
    "log",
    metavar="LOG",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="An event log, or JSON lines.",
)
lateness_option = click.option(
    "--lateness-ms",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="An event may come this much after a later one.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Events of a device in, features out, and to the cloud exactly once."""


def add(made: click.Command, name: str) -> None:
    """Adds a subcommand."""
    command.add_command(made, name)


def loaded(flow_file: str) -> tuple[list[Flow], Schema]:
    """The flows that a file defines (every global Flow), and its `schema` if it has one. Runs the file.

    Raises FlowError if it defines none or does not run.
    """
    import runpy

    from walle_pipeline.errors import FlowError
    from walle_pipeline.events import Schema
    from walle_pipeline.flow import Flow

    try:
        names = runpy.run_path(flow_file)
    except (Exception, SystemExit) as error:
        raise FlowError(f"{flow_file}: {type(error).__name__}: {error}") from error
    flows = list({id(v): v for v in names.values() if isinstance(v, Flow)}.values())
    if not flows:
        raise FlowError(f"{flow_file} defines no Flow; write flow = Flow('name') in it")
    schema = names.get("schema")
    return flows, schema if isinstance(schema, Schema) else Schema.BASIC


def _finished(pipeline: Any, seconds: float, as_json: bool) -> None:
    stats = pipeline.stats()
    for failure in pipeline.failures[:5]:
        error = f"{type(failure.error).__name__}: {failure.error}"
        click.echo(f"walle: {failure.flow}, {failure.step}: {error}, at {failure.value!r:.200}", err=True)
    if as_json:
        print_json({**stats, "seconds": seconds})
        return
    rows = [
        (name.replace("_", " "), f"{stats[name]:,}")
        for name in stats
        if stats[name] or name in ("received", "matches")
    ]
    rows.append(("events per second", f"{stats['received'] / max(seconds, 1e-9):,.0f}"))
    print_table(("what", ">number"), rows)


def _run(flow_file: str, log: str, lateness_ms: int, speed: float | None, as_json: bool) -> None:
    from walle_pipeline.lines import events_of
    from walle_pipeline.pipeline import Pipeline

    flows, schema = loaded(flow_file)
    start = time.perf_counter()
    with (
        Pipeline(*flows, schema=schema, lateness_ms=lateness_ms, ahead_ms=None) as pipeline,
        progress("events") as step,
    ):
        source = events_of(log, schema)
        if speed:
            begin: int | None = None
            for event in source:
                begin = event.time if begin is None else begin
                wait = (event.time - begin) / 1000 / speed - (time.perf_counter() - start)
                if wait > 0:
                    time.sleep(wait)
                pipeline.feed([event])
                step(f"{pipeline.counts['received']:,} events")
        else:
            while batch := list(itertools.islice(source, 1000)):
                pipeline.feed(batch)
                step(f"{pipeline.counts['received']:,} events")
        pipeline.finish()
        _finished(pipeline, time.perf_counter() - start, as_json)


@walle_command(
    "walle pipeline run ipv.py --events phone.log\nwalle pipeline run ipv.py --events events.jsonl --json"
)
@file_argument
@events_option
@lateness_option
@json_option
def run(flow_file: str, log: str, lateness_ms: int, as_json: bool) -> None:
    """Run the flows of FLOW.py on recorded events, as fast as they go."""
    _run(flow_file, log, lateness_ms, None, as_json)


@walle_command("walle pipeline replay ipv.py --events phone.log --speed 60")
@file_argument
@events_option
@lateness_option
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Times real time.",
)
@json_option
def replay(flow_file: str, log: str, lateness_ms: int, speed: float, as_json: bool) -> None:
    """Run the flows of FLOW.py on recorded events at the pace at which they happened."""
    _run(flow_file, log, lateness_ms, speed, as_json)


@walle_command("walle pipeline explain ipv.py --events phone.log --task ipv --key user-7")
@file_argument
@events_option
@click.option("--task", help="Name of the flow; default: all.")
@click.option("--key", help="Whose events; default: all.")
@click.option(
    "--last", type=click.IntRange(1), default=20, show_default=True, help="Show the latest attempts only."
)
@json_option
def explain(flow_file: str, log: str, task: str | None, key: str | None, last: int, as_json: bool) -> None:
    """Say why tasks fired or did not: for each attempt, the step at which it stopped."""
    from walle_pipeline.errors import FlowError
    from walle_pipeline.explain import explain as attempts_of
    from walle_pipeline.flow import Root
    from walle_pipeline.lines import events_of

    flows, schema = loaded(flow_file)
    if task is not None and task not in [f.name for f in flows]:
        raise FlowError(f"{flow_file} has no flow {task!r}; there are {', '.join(f.name for f in flows)}")
    sequences: dict[Any, list[Event]] = {}
    visits: dict[Any, list[Event]] = {}
    for event in events_of(log, schema):
        if key is None or event.key == key:
            sequences.setdefault(event.key, []).append(event)
            visits.setdefault((event.key, event.instance), []).append(event)
    rows = []
    for flow in flows:
        patterns = [p for n in flow.nodes if isinstance(n, Root) for p in n.patterns]
        for pattern in patterns if task in (None, flow.name) else []:
            for owner, events in (visits if pattern.paged else sequences).items():
                for a in attempts_of(pattern, sorted(events, key=lambda e: e.time)):
                    rows.append((a.first.time, flow.name, owner if isinstance(owner, str) else owner[0], a))
    rows.sort(key=lambda row: row[0])
    shown = [(name, owner, a.first.id, a.outcome, a.reason) for _, name, owner, a in rows[-last:]]
    if as_json:
        names = ("task", "key", "first_event", "outcome", "reason")
        print_json([dict(zip(names, row, strict=True)) for row in shown])
        return
    print_table(("task", "key", ">first event", "outcome", "reason"), shown)
    if not rows:
        click.echo("no event satisfies the first step of any pattern")


@walle_command("walle pipeline graph ipv.py --png ipv.png")
@file_argument
@click.option(
    "--png",
    "path",
    type=click.Path(dir_okay=False, writable=True),
    help="Write a picture (.png, .svg, .pdf).",
)
def graph(flow_file: str, path: str | None) -> None:
    """Show the flows of FLOW.py."""
    from walle_pipeline.picture import draw

    flows, _ = loaded(flow_file)
    if path:
        draw(flows, path)
        click.echo(path)
        return
    for flow in flows:
        numbers = {node: number for number, node in enumerate(flow.nodes, 1)}
        click.echo(flow.name)
        for node in flow.nodes:
            sources = ", ".join(f"{numbers[n]}{f' ({side})' if side else ''}" for n, side in node.inputs)
            click.echo(f"  {numbers[node]:>3}  {node.name}{f'  <- {sources}' if sources else ''}")


@walle_command(
    "walle pipeline show phone.log\nwalle pipeline show phone.log | jq 'select(.kind == \"click\")'"
)
@click.argument("log", type=click.Path(exists=True, dir_okay=False))
def show(log: str) -> None:
    """Print the events of an event log as JSON lines; fields of kinds that Walle does not have by their order."""
    from walle_pipeline.lines import shown

    for line in shown(log):
        sys.stdout.write(line + "\n")


@click.group("dict")
def dictionary() -> None:
    """The tunnel's compression dictionary."""


@walle_command(
    "walle pipeline dict train --sink tunnel.db --stream ipv --out ipv.dict\nwalle pipeline dict train samples/* --out ipv.dict"
)
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--sink", type=click.Path(exists=True, dir_okay=False), help="Take payloads from a server's SQLite sink."
)
@click.option("--stream", help="Of the sink, only this stream.")
@click.option("--limit", type=click.IntRange(10), default=5000, show_default=True, help="Samples at most.")
@click.option(
    "--size",
    type=click.IntRange(256, 1 << 20),
    default=16384,
    show_default=True,
    help="Bytes of the dictionary.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True), help="File to write.")
def dict_train(
    files: tuple[str, ...], sink: str | None, stream: str | None, limit: int, size: int, out: str
) -> None:
    """Train a dictionary on samples: files of one payload each, or what a server has stored."""
    import asyncio

    from walle_pipeline.tunnel.dictionary import Codec, train

    samples = [Path(file).read_bytes() for file in files[:limit]]
    if sink:
        samples += asyncio.run(_stored(sink, stream, limit))
    if not samples:
        raise click.UsageError("nothing to train on: give files or --sink")
    with progress(f"training on {len(samples)} payloads"):
        made = train(samples[::2] or samples, size)
    made.save(out)
    codec = Codec([made])
    held_out = samples[1::2] or samples
    packed = [
        sum(len(codec.pack(s, version)[1]) for s in held_out) / len(held_out) for version in (0, made.version)
    ]
    raw = sum(map(len, held_out)) / len(held_out)
    click.echo(
        f"{out}: version {made.version}, {len(made.data)} bytes; on payloads that it was not trained on: "
        f"{raw:.0f} bytes each, {packed[0]:.0f} compressed without it, {packed[1]:.0f} with it"
    )


async def _stored(sink: str, stream: str | None, limit: int) -> list[bytes]:
    from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

    store = SqliteSink(sink)
    await store.open()
    try:
        found: list[bytes] = []
        async for record in store.records(stream=stream):
            found.append(record.payload)
            if len(found) >= limit:
                break
        return found
    finally:
        await store.close()


@click.group("tunnel")
def tunnel() -> None:
    """The server's side of the tunnel."""


@walle_command(
    "walle pipeline tunnel serve --tokens tokens.txt --sink tunnel.db --cert cert.pem --key key.pem\n"
    "walle pipeline tunnel serve --tokens tokens.txt --sink nats://10.0.0.1:4222\n"
    "walle pipeline tunnel serve --tokens tokens.txt --sink postgresql://walle@db/walle"
)
@click.option(
    "--tokens",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="File of lines: device token.",
)
@click.option(
    "--sink",
    "where",
    default="tunnel.db",
    show_default=True,
    help="SQLite file, or a URL nats:// or postgresql://.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8765, show_default=True)
@click.option("--cert", type=click.Path(exists=True, dir_okay=False), help="Certificate, PEM.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Its key, PEM.")
@click.option(
    "--dictionary",
    "dictionaries",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="The first is preferred.",
)
def serve(
    tokens: str,
    where: str,
    host: str,
    port: int,
    cert: str | None,
    key: str | None,
    dictionaries: tuple[str, ...],
) -> None:
    """Take features from devices. Without a certificate only on the loopback address."""
    from walle_pipeline.tunnel.auth import tokens_from_file
    from walle_pipeline.tunnel.dictionary import Dictionary
    from walle_pipeline.tunnel.serve import serve as start
    from walle_pipeline.tunnel.server import TunnelServer
    from walle_pipeline.tunnel.sinks import sink_for

    if bool(cert) != bool(key):
        raise click.UsageError("--cert and --key belong together")
    if not cert and host not in ("127.0.0.1", "::1", "localhost"):
        raise click.UsageError(
            f"tokens and features would travel in the clear to {host}; give --cert and --key"
        )
    app = TunnelServer(
        sink_for(where),
        tokens_from_file(tokens),
        dictionaries=[Dictionary.load(path) for path in dictionaries],
    )
    click.echo(f"{'wss' if cert else 'ws'}://{host}:{port}/tunnel -> {where}", err=True)
    start(app, host, port, cert, key)


@walle_command("walle pipeline demo\nwalle pipeline demo --visits 5000 --out demo")
@click.option(
    "--visits", type=click.IntRange(10, 1_000_000), default=1000, show_default=True, help="Item page views."
)
@click.option("--users", type=click.IntRange(1), default=50, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--backend", help="Backend of the encoder; default: the fastest.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="walle-pipeline-demo",
    show_default=True,
    help="Folder.",
)
@json_option
def demo(visits: int, users: int, seed: int, backend: str | None, out: str, as_json: bool) -> None:
    """Item page views from raw events to the cloud: events, features, 128-byte encodings, tunnel, server."""
    from walle_pipeline.demo.show import show as start

    start(visits, users, seed, backend, Path(out), as_json)


for made, name in (
    (demo, "demo"), (run, "run"), (replay, "replay"), (explain, "explain"), (graph, "graph"), (show, "show"),
    (dictionary, "dict"), (tunnel, "tunnel"),
):  # fmt: skip
    add(made, name)
dictionary.add_command(dict_train, "train")
tunnel.add_command(serve, "serve")
