"""``walle pipeline demo``: the whole way on one machine, with live counters and a picture."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from walle_core.cli.common import print_json, print_table
from walle_core.errors import UnsupportedError
from walle_pipeline.demo.ipv import Encoder, ipv_flow
from walle_pipeline.demo.sessions import sessions
from walle_pipeline.errors import TunnelError
from walle_pipeline.pipeline import Pipeline
from walle_pipeline.sinks import payload
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine
from walle_pipeline.tunnel.dictionary import Codec, train
from walle_pipeline.tunnel.facade import Tunnel


@contextmanager
def local_server(folder: Path, token: str) -> Iterator[str]:
    """A tunnel server on the loopback address that stores into ``cloud.db``; yields its URL."""
    try:
        import uvicorn
    except ImportError as error:
        raise UnsupportedError(
            "the demo's server needs uvicorn; pip install 'walle-pipeline[server]'"
        ) from error
    from walle_pipeline.tunnel.auth import tokens
    from walle_pipeline.tunnel.serve import config
    from walle_pipeline.tunnel.server import TunnelServer
    from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = TunnelServer(SqliteSink(folder / "cloud.db"), tokens({"demo": token}))
    server = uvicorn.Server(config(app, "127.0.0.1", port, None, None))
    thread = threading.Thread(target=server.run, name="walle-demo-server", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 15
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise TunnelError("the demo's server did not start; the log says why")
            time.sleep(0.02)
        yield f"ws://127.0.0.1:{port}/tunnel"
    finally:
        server.should_exit = True
        thread.join(10)


def show(visits: int, users: int, seed: int, backend: str | None, out: Path, as_json: bool) -> None:
    """Runs the demo; see ``walle pipeline demo --help``. Raises WalleError if a part of it cannot start."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("device.db", "outbox.db", "cloud.db"):
        for path in out.glob(f"{name}*"):
            path.unlink()
    encode = Encoder(backend)
    token = secrets.token_urlsafe(16)
    with (
        local_server(out, token) as url,
        CollectiveStore(SqliteEngine(out / "device.db")) as store,
        Tunnel(url, device="demo", token=token, outbox=out / "outbox.db") as tunnel,
    ):
        features: list[dict[str, Any]] = []
        flow = ipv_flow(features, tunnel, encode)
        with Pipeline(flow, ahead_ms=None) as pipeline:
            seen = _feed(pipeline, sessions(seed, users, visits), features, quiet=as_json)
            tunnel.flush(30)
            store.put_many(
                "features", [(f"{f['user']}/{f['start']}", payload(f), f["start"]) for f in features]
            )
            store.flush()
            figures = {**seen, **_sizes(features), **_latency(encode, seed)}
            figures["backend"] = (
                ", ".join(encode.session.backends)
                if hasattr(encode.session, "backends")
                else backend or "fastest"
            )
    from walle_pipeline.picture import draw

    try:
        draw([flow], out / "flow.png")
        figures["picture"] = str(out / "flow.png")
    except UnsupportedError as error:
        figures["picture"] = str(error)
    if as_json:
        print_json(figures)
        return
    print_table(
        ("what", ">figure"),
        [
            (
                k.replace("_", " "),
                f"{v:,}" if isinstance(v, int) else f"{v:.2f}" if isinstance(v, float) else v,
            )
            for k, v in figures.items()
        ],
    )
    click.echo(f"device store, outbox and the cloud's store are in {out}")


def _feed(pipeline: Pipeline, events: Any, features: list[Any], *, quiet: bool) -> dict[str, Any]:
    encoded = msgspec.json.Encoder().encode
    raw = busy = 0.0
    count = 0
    console = Console(stderr=True)
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        while batch := list(islice(events, 500)):
            raw += sum(len(encoded(event)) for event in batch)
            start = time.perf_counter()
            pipeline.feed(batch)
            busy += time.perf_counter() - start
            count += len(batch)
            if console.is_terminal and not quiet:
                table = Table(box=None, pad_edge=False)
                for name in ("events", "events/s", "triggers", "features", "raw bytes"):
                    table.add_column(name, justify="right")
                stats = pipeline.stats()
                table.add_row(
                    f"{count:,}",
                    f"{count / busy:,.0f}",
                    f"{stats['matches']:,}",
                    f"{len(features):,}",
                    f"{raw:,.0f}",
                )
                live.update(table)
        pipeline.finish()
    return {
        "events": count, "events_per_second": round(count / busy), "triggers": pipeline.stats()["matches"],
        "features": len(features), "events_per_feature": count / max(len(features), 1),
        "raw_bytes_per_feature": round(raw / max(len(features), 1)),
    }  # fmt: skip


def _sizes(features: list[Any]) -> dict[str, Any]:
    samples = [payload(f) for f in features]
    dictionary = train(samples[::2])
    codec = Codec([dictionary])
    wire = sorted(len(codec.pack(s, dictionary.version)[1]) for s in samples[1::2])
    text = sorted(len(msgspec.json.encode(f)) for f in features)
    return {
        "feature_bytes_as_json": text[len(text) // 2], "feature_bytes_on_the_wire": wire[len(wire) // 2],
        "feature_bytes_on_the_wire_p99": wire[int(len(wire) * 0.99)], "encoding_bytes": 128,
    }  # fmt: skip


def _latency(encode: Encoder, seed: int) -> dict[str, Any]:
    """From page exit to the encoding, one event at a time."""
    codes: list[bytes] = []
    times = []
    with Pipeline(ipv_flow([], codes, encode), ahead_ms=None) as pipeline:
        for event in sessions(seed + 1, 10, 300):
            before, start = len(codes), time.perf_counter()
            pipeline.feed([event])
            if len(codes) > before:
                times.append(time.perf_counter() - start)
    times.sort()
    return {
        "exit_to_encoding_ms_p50": times[len(times) // 2] * 1e3,
        "exit_to_encoding_ms_p99": times[int(len(times) * 0.99)] * 1e3,
    }
