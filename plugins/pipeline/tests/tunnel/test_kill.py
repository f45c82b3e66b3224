"""kill -9 of the client, the server or both at random points: nothing that was accepted is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from servers import free_ports
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

pytest.importorskip("uvicorn")
POINTS = 1000 if os.environ.get("WALLE_FULL") == "1" else 20
SERVER = """
import sys
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
serve(TunnelServer(SqliteSink(sys.argv[1]), tokens({"d": "token"})), "127.0.0.1", int(sys.argv[2]))
"""
# Prints each number whose send() returned; begins with the one that may or may not have been accepted before.
CLIENT = """
import sys, time
from walle_pipeline.tunnel.client import ClientConfig
from walle_pipeline.tunnel.facade import Tunnel
path, port, first, count = sys.argv[1], *map(int, sys.argv[2:])
config = ClientConfig(backoff_first=0.02, backoff_max=0.2)
url = f"ws://127.0.0.1:{port}/tunnel"
with Tunnel(url, device="d", token="token", outbox=path, config=config, close_timeout=0) as tunnel:
    for number in range(first, first + count):
        tunnel.send("s", b"%d " % number * (number % 40 + 1), unique_key=str(number))
        print(number, flush=True)
        time.sleep(0.001)
    tunnel.flush(30)
"""


class Process:
    """A child that is killed rather than asked; its output goes to a file."""

    def __init__(self, code, *arguments, output=subprocess.DEVNULL):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        self.child = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
def test_kill(tmp_path):
    dice, (port,) = random.Random(7), free_ports(1)
    printed = tmp_path / "printed"
    printed.touch()

    def accepted():
        return [int(line) for line in printed.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def start_client(count):
        numbers = accepted()
        first = numbers[-1] + 1 if numbers else 0
        whole = printed.read_bytes().rfind(b"\n") + 1
        os.truncate(printed, whole)  # a kill may cut the last line in two
        with printed.open("a") as output:
            return Process(CLIENT, tmp_path / "o.db", port, first, count, output=output)

    server = Process(SERVER, tmp_path / "sink.db", port)
    client = start_client(10**6)
    try:
        for _ in range(POINTS):
            target = dice.choice(["client", "server", "both"])
            before = len(accepted())
            deadline = time.monotonic() + 10
            while len(accepted()) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(dice.uniform(0, 0.25))
            if target != "server":
                client.kill()
                client = start_client(10**6)
            if target != "client":
                server.kill()
                server = Process(SERVER, tmp_path / "sink.db", port)
        client.kill()
        client = start_client(5)
        assert client.child.wait(60) == 0
    finally:
        client.kill()
        server.kill()
    numbers = accepted()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > POINTS

    async def stored():
        sink = SqliteSink(tmp_path / "sink.db")
        await sink.open()
        found = [r async for r in sink.records("d", "s")]
        await sink.close()
        return found

    records = asyncio.run(stored())
    assert [r.seq for r in records] == list(range(1, len(records) + 1))
    assert [r.payload for r in records] == [b"%d " % n * (n % 40 + 1) for n in numbers]
