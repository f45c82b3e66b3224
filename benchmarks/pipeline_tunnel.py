"""The tunnel in numbers: latency on loopback and through a bad network, frames per second, memory of idle connections.

    python benchmarks/pipeline_tunnel.py [--only loopback,chaos,frames,memory] [--over ws,wss] [--sends 300]
        [--connections 5000]

The server is a process of its own with a SQLite sink; an acknowledgement means that the record is on disk. Over wss,
TLS 1.3 with a certificate made for the run. Prints a markdown table. Wants `walle-pipeline[server]` and `cryptography`.
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import random
import resource
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import attrs
from report import machine, write_section
from walle_pipeline.testing.certificate import make_certificate
from walle_pipeline.testing.chaos import ChaosProxy, Weather
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.dictionary import Codec
from walle_pipeline.tunnel.facade import Tunnel
from walle_pipeline.tunnel.frames import Data, Hello

SERVER = """
import os, sys
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
if sys.argv[3]:
    os.sched_setaffinity(0, {int(sys.argv[3])})
devices = tokens({f"d{i}": f"t{i}" for i in range(int(sys.argv[4]))})
serve(TunnelServer(SqliteSink(sys.argv[1]), devices), "127.0.0.1", int(sys.argv[2]), *sys.argv[5:])
"""


@attrs.frozen
class Wire:
    """How server and clients talk: `tls` and `files` (certificate and key) are None and empty without TLS."""

    scheme: str
    tls: ssl.SSLContext | None = None
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, scheme: str, folder: Path) -> Wire:
        if scheme == "ws":
            return cls(scheme)
        files = make_certificate(folder)
        return cls(scheme, ssl.create_default_context(cafile=files[0]), files)

    def __str__(self) -> str:
        return "TLS, " if self.tls else ""


@contextlib.contextmanager
def server(folder: str, wire: Wire, core: str = "", devices: int = 200) -> Iterator[tuple[int, int]]:
    """(port, process id) of a started server."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    arguments = [f"{folder}/sink-{port}.db", str(port), core, str(devices), *map(str, wire.files)]
    command = [sys.executable, "-c", SERVER, *arguments]
    with subprocess.Popen(command) as child:
        try:
            for _ in range(500):
                url = f"{'https' if wire.tls else 'http'}://127.0.0.1:{port}/healthz"
                with contextlib.suppress(OSError), urllib.request.urlopen(url, context=wire.tls):
                    break
                time.sleep(0.02)
            yield port, child.pid
        finally:
            child.terminate()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


ROWS = ["| what | figure | goal |", "|---|---|---|"]


def row(what: str, value: str, target: str = "") -> None:
    ROWS.append(f"| {what} | {value} | {target} |")
    print(ROWS[-1], flush=True)


def latencies(url: str, wire: Wire, outbox: str, sizes: list[int], sends: int) -> dict[int, list[float]]:
    """Seconds from send() to the durable acknowledgement, one payload at a time, sizes in turn."""
    found: dict[int, list[float]] = {size: [] for size in sizes}
    with Tunnel(url, device="d0", token="t0", outbox=outbox, tls=wire.tls) as tunnel:
        tunnel.send("warm-up", b"x")
        tunnel.flush(30)
        for _ in range(sends):
            for size in sizes:
                payload = os.urandom(size)
                start = time.perf_counter()
                tunnel.send("ipv", payload)
                tunnel.flush(30)
                found[size].append(time.perf_counter() - start)
        stats = tunnel.client.stats
    print(f"<!-- {stats} -->")
    return found


def loopback(folder: str, wire: Wire, sends: int) -> None:
    with server(folder, wire) as (port, _):
        url = f"{wire.scheme}://127.0.0.1:{port}/tunnel"
        found = latencies(url, wire, f"{folder}/loopback.db", [1300, 30_000], sends)
    for size, values in found.items():
        text = f"{statistics.median(values) * 1e3:.1f} / {percentile(values, 0.99) * 1e3:.1f} ms"
        row(
            f"{wire}loopback, {size / 1000:g} KB, send to durable ack, p50 / p99",
            text,
            "p99 ≤ 50 ms" if size > 3000 else "",
        )


@contextlib.contextmanager
def proxied(port: int, weather: Weather, seed: int) -> Iterator[ChaosProxy]:
    """A proxy on an event loop in a thread of its own."""
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    proxy = ChaosProxy("127.0.0.1", port, weather, seed=seed)

    async def work() -> None:
        async with proxy:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(work(),))
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def chaos(folder: str, wire: Wire, sends: int) -> None:
    with server(folder, wire) as (port, _):
        for name, weather in (
            ("1 % of chunks cut", Weather(delay=0.1, cut=0.01)),
            ("1 % of chunks freeze the connection", Weather(delay=0.1, freeze=0.01)),
        ):
            with proxied(port, weather, seed=1) as proxy:
                found = latencies(
                    proxy.url(wire.scheme), wire, f"{folder}/{proxy.port}.db", [2900, 30_000], sends
                )
                for size, values in found.items():
                    p50, p99 = statistics.median(values), percentile(values, 0.99)
                    text = f"{p50 * 1e3:.0f} / {p99 * 1e3:.0f} / {max(values) * 1e3:.0f} ms"
                    row(
                        f"{wire}200 ms RTT, {name}, {size / 1000:g} KB, p50 / p99 / max",
                        text,
                        "p99 ≤ 500 ms" if size > 3000 else "",
                    )
                share = sum(v <= 0.45 for v in found[2900]) / sends
                row(f"{wire}200 ms RTT, {name}, 2.9 KB within RTT + 250 ms", f"{share:.1%}", "≥ 90 %")
                print(f"<!-- cuts {proxy.cuts}, freezes {proxy.freezes}, connections {proxy.connections} -->")


def masked(payload: bytes) -> bytes:
    """A WebSocket message of a client, masked with zeros so that making it costs nothing."""
    size = len(payload)
    head = (
        struct.pack(">BBH", 0x82, 0x80 | 126, size)
        if size < 1 << 16
        else struct.pack(">BBQ", 0x82, 0x80 | 127, size)
    )
    return head + bytes(4) + payload


async def connect(port: int, wire: Wire, device: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12, ssl=wire.tls)
    key = base64.b64encode(os.urandom(16)).decode()
    head = "GET /tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: {key}\r\nAuthorization: Bearer t{device}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(masked(frames.encode(Hello(f"d{device}", {"s": 0}))))
    return reader, writer


def feature(dice: random.Random) -> bytes:
    """About 1.1 KB of JSON, which zstd makes about half."""
    items = (b'{"item":%d,"dwell":%d}' % (dice.randrange(10**9), dice.randrange(10**5)) for _ in range(36))
    return b'{"user":12345,"event":"ipv","items":[' + b",".join(items) + b"]}"


async def flood(port: int, wire: Wire, clients: int, count: int, batch: int) -> float:
    """Frames per second from the first byte to the last acknowledgement."""
    dice, codec = random.Random(1), Codec()
    bodies = [codec.pack(feature(dice)) for _ in range(50)]
    encoded = [frames.encode(Data(0, i, *bodies[i % 50])) for i in range(1, count + 1)]
    messages = [masked(frames.encode_batch(encoded[i : i + batch])) for i in range(0, count, batch)]
    blob = b"".join(messages)
    ends = [await connect(port, wire, i) for i in range(clients)]
    last = frames.encode(frames.Ack(0, count))

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(blob), 1 << 15):
            writer.write(blob[at : at + (1 << 15)])
            await writer.drain()
        tail = b""
        while last not in tail:
            chunk = await reader.read(4096)
            assert chunk, "the server ended the connection"
            tail = tail[-64:] + chunk

    start = time.perf_counter()
    await asyncio.gather(*(one(*end) for end in ends))
    seconds = time.perf_counter() - start
    for _, writer in ends:
        writer.close()
    return clients * count / seconds


def throughput(folder: str, wire: Wire) -> None:
    cores = sorted(os.sched_getaffinity(0))
    for batch, text in ((32, "32 frames per message"), (1, "one frame per message")):
        rates = []
        for _ in range(3):
            with server(folder, wire, str(cores[0])) as (port, _):
                os.sched_setaffinity(0, {cores[-1]})
                try:
                    rates.append(asyncio.run(flood(port, wire, 100, 1024, batch)))
                finally:
                    os.sched_setaffinity(0, cores)
        values = ", ".join(f"{rate:,.0f}" for rate in rates)
        row(
            f"{wire}frames/s to durable ack, 100 clients, 1.1 KB JSON each, {text}",
            values,
            "≥ 20,000" if batch > 1 else "",
        )


def resident(pid: int) -> float:
    """MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def memory(folder: str, wire: Wire, connections: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def work(port: int, pid: int) -> tuple[float, float]:
        before = resident(pid)
        ends = []
        for at in range(0, connections, 100):
            some = range(at, min(at + 100, connections))
            ends += await asyncio.gather(*(connect(port, wire, i) for i in some))
        await asyncio.gather(*(reader.readexactly(14) for reader, _ in ends))  # of the WELCOME
        await asyncio.sleep(2)
        after = resident(pid)
        for _, writer in ends:
            writer.close()
        return before, after

    with server(folder, wire, devices=connections) as (port, pid):
        before, after = asyncio.run(work(port, pid))
    row(
        f"{wire}server's RSS, {connections:,} open connections (without any)",
        f"{after:.0f} MB ({before:.0f} MB)",
        "≤ 250 MB",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="loopback,chaos,frames,memory")
    parser.add_argument("--over", default="ws,wss")
    parser.add_argument("--sends", type=int, default=300)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--markdown", type=Path, help="page to write the table into")
    options = parser.parse_args()
    parts = {
        "loopback": lambda *on: loopback(*on, options.sends),
        "chaos": lambda *on: chaos(*on, options.sends),
        "frames": throughput,
        "memory": lambda *on: memory(*on, options.connections),
    }
    print("\n".join(ROWS))
    for scheme in options.over.split(","):
        with tempfile.TemporaryDirectory() as folder:
            wire = Wire.of(scheme, Path(folder))
            for name in options.only.split(","):
                parts[name](folder, wire)
    if options.markdown:
        head = f"{date.today().isoformat()}, {machine()}, {os.cpu_count()} cores."
        note = "An acknowledgement means that the record is on the server's disk."
        lines = ["## Tunnel", "", f"{head} `make bench-pipeline`. {note}", "", *ROWS]
        write_section(options.markdown, "pipeline_tunnel", lines)


if __name__ == "__main__":
    main()
