"""The whole way into the cloud, killed at any point: every feature once, in order."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from device_flows import events, whole
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

POINTS = int(os.environ.get("WALLE_KILLS", "1000" if os.environ.get("WALLE_FULL") == "1" else "12"))
SERVER = """
import sys
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
serve(TunnelServer(SqliteSink(sys.argv[1]), tokens({"d": "token"})), "127.0.0.1", int(sys.argv[2]))
"""
# Takes the events from where the device stands; prints how far it is. With a last event, ends there.
CLIENT = """
import random, sys, time
folder, port, last, here = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sys.path.insert(0, here)
from device_flows import events, flows
from walle_pipeline.device import Device
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine
from walle_pipeline.tunnel.client import ClientConfig
from walle_pipeline.tunnel.facade import Tunnel
config, url = ClientConfig(backoff_first=0.02, backoff_max=0.2), f"ws://127.0.0.1:{port}/tunnel"
with (
    CollectiveStore(SqliteEngine(folder + "/store.db")) as store,
    Tunnel(url, device="d", token="token", outbox=folder + "/o.db", config=config, close_timeout=0) as tunnel,
    Device(folder + "/device", *flows(tunnel, store), ahead_ms=None, snapshot_every=150) as device,
):
    print(device.position, flush=True)
    some = events(device.position, last or device.position + 20_000)
    while some:
        size = random.randrange(1, 12)
        device.feed(some[:size])
        del some[:size]
        print(device.position, flush=True)
        time.sleep(0.002)
    if last:
        device.finish()
        tunnel.flush(30)
"""


class Process:
    """A child that is killed rather than asked; its output goes to files."""

    def __init__(self, code, *arguments, output):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        with open(f"{output}.out", "ab") as out, open(f"{output}.err", "ab") as err:
            self.child = subprocess.Popen(command, stdout=out, stderr=err)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
def test_kill_9_on_the_whole_way(tmp_path):
    pytest.importorskip("uvicorn")
    dice, port = random.Random(POINTS), free_port()

    output = tmp_path / "client.out"
    output.touch()

    def start_client(last=0):
        os.truncate(output, output.read_bytes().rfind(b"\n") + 1)  # a kill may cut the last line in two
        return Process(CLIENT, tmp_path, port, last, Path(__file__).parent, output=tmp_path / "client")

    def start_server():
        return Process(SERVER, tmp_path / "sink.db", port, output=tmp_path / "server")

    def printed():
        return output.stat().st_size

    server, client = start_server(), start_client()
    try:
        for _ in range(POINTS):
            target = dice.choice(["client", "client", "server", "both"])
            if dice.random() < 0.8:  # else perhaps before the start has come to an end
                before, deadline = printed(), time.monotonic() + 20
                while printed() == before and time.monotonic() < deadline:
                    time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.4))
            assert client.child.poll() is None, (tmp_path / "client.err").read_text()[-3000:]
            if target != "server":
                client.kill()
                client = start_client()
            if target != "client":
                server.kill()
                server = start_server()
        client.kill()
        reached = int(output.read_bytes().split(b"\n")[-2])
        last = reached + 200
        client = start_client(last)
        assert client.child.wait(120) == 0, (tmp_path / "client.err").read_text()[-3000:]
    finally:
        client.kill()
        server.kill()
    expected = whole(events(0, last), tmp_path)

    async def stored(stream):
        sink = SqliteSink(tmp_path / "sink.db")
        await sink.open()
        found = [r async for r in sink.records("d", stream)]
        await sink.close()
        return found

    for stream in ("visits", "clicks"):
        records = asyncio.run(stored(stream))
        assert [r.seq for r in records] == list(range(1, len(records) + 1))
        for sort in (
            b"visit",
            b"session",
            b"late",
        ):  # how sinks of one stream alternate depends on the sizes of calls
            of = [
                [p for p in some if p.startswith(sort)]
                for some in ([r.payload for r in records], expected.stream(stream))
            ]
            assert of[0] == of[1]
        assert sorted(r.payload for r in records) == sorted(expected.stream(stream))
        assert len(records) > 10
    with CollectiveStore(SqliteEngine(tmp_path / "store.db")) as store:
        rows = {(t, k.decode()): (v, at) for t in ("visits", "clicks") for k, v, at in store.scan(t)}
    assert rows == expected.rows
    print(f"{POINTS} kills, {last} events, {len(expected.sent)} features")
