"""What a hostile or broken peer can send: each is counted, answered with a reason and costs the others nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import socket
import struct

import pytest
import zstandard
from harness import DEVICES, served, until
from test_frames import samples
from transport_conformance import acked, exchange
from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.dictionary import Codec, train
from walle_pipeline.tunnel.frames import COMPRESSED, Ack, Code, Data, Dict, Error, Hello, Open, Pong, Welcome
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.serve import Inbox
from walle_pipeline.tunnel.settings import Limits

BOMB = zstandard.ZstdCompressor().compress(bytes(64 << 20))
DICTIONARY = train(samples())
HELLO = frames.encode(Hello("d0", {"s": 0}))


def data(seq, body=b"x", flags=0, stream_id=0):
    return frames.encode(Data(stream_id, seq, flags, body))


CASES = {
    "no frame": ([b"hello"], Code.PROTOCOL),
    "empty": ([b""], Code.PROTOCOL),
    "data before hello": ([data(1)], Code.PROTOCOL),
    "two hellos": ([HELLO, HELLO], Code.PROTOCOL),
    "server's frames": ([HELLO, frames.encode(Welcome({}, 1))], Code.PROTOCOL),
    "ack": ([HELLO, frames.encode(Ack(0, 1))], Code.PROTOCOL),
    "unknown stream id": ([HELLO, data(1, stream_id=5)], Code.PROTOCOL),
    "open twice": ([HELLO, frames.encode(Open(0, "other"))], Code.PROTOCOL),
    "sequence jump": ([HELLO, data(2)], Code.GAP),
    "jump later": ([HELLO, data(1), data(2), data(4)], Code.GAP),
    "huge seq": ([HELLO, data(frames.MAX_SEQ)], Code.GAP),
    "zip bomb": ([HELLO, data(1, BOMB, COMPRESSED)], Code.PROTOCOL),
    "no zstd": ([HELLO, data(1, b"\x28\xb5\x2f\xfdnonsense", COMPRESSED)], Code.PROTOCOL),
    "unknown dictionary": (
        [HELLO, data(1, Codec([DICTIONARY]).pack(samples(1)[0], DICTIONARY.version)[1], COMPRESSED)],
        Code.DICTIONARY,
    ),
    "dictionary of another version": (
        [HELLO, frames.encode(Dict(DICTIONARY.version + 1, DICTIONARY.data))],
        Code.PROTOCOL,
    ),
    "no dictionary": ([HELLO, frames.encode(Dict(5, bytes(1000)))], Code.PROTOCOL),
    "many dictionaries": (
        [HELLO, *[frames.encode(Dict(DICTIONARY.version, DICTIONARY.data))] * 9],
        Code.LIMIT,
    ),
    "many streams": ([frames.encode(Hello("d0", {f"s{i}": i for i in range(65)}))], Code.LIMIT),
    "streams one by one": ([HELLO, *[frames.encode(Open(i, f"s{i}")) for i in range(1, 70)]], Code.LIMIT),
    "batch in batch": (
        [HELLO, frames.encode_batch([frames.encode_batch([data(1), data(2)]), data(3)])],
        Code.PROTOCOL,
    ),
}


async def final(connection):
    """The ERROR that ends the connection."""
    async with asyncio.timeout(5):
        while True:
            frame = frames.parse(await connection.receive())[0]
            if isinstance(frame, Error):
                with pytest.raises(TransportClosedError):
                    await connection.receive()
                await connection.close()
                return frame


def test_bad_input(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            for number, (name, (sent, code)) in enumerate(CASES.items(), 1):
                connection = await server.connect()
                for message in sent:
                    try:
                        await connection.send(message)
                    except TransportClosedError:
                        break
                answer = await final(connection)
                assert answer.code == code, (name, answer)
                await until(lambda n=number: sum(server.app.counters.ended.values()) == n)
            assert server.app.counters.ended["gap"] == 3
            assert server.app.counters.open == 0
            # A well-behaved device is served as ever, and nothing of the rest was stored but what was in order.
            connection = await server.connect("d1")
            await exchange(connection, Hello("d1", {"s": 0}))
            await connection.send(data(1))
            await acked(connection, 1)
            await connection.close()
            assert [r.seq for r in await server.stored("d0")] == [1, 2]

    asyncio.run(main())


async def raw_websocket(port, token=DEVICES["d0"], path="/tunnel", small=False):
    """A connection whose bytes the test controls; the answer's status line."""
    sock = socket.socket()
    sock.setblocking(False)
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    writer.write(f"{head}\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    return reader, writer, answer.split(b"\r\n")[0].decode()


def masked(payload, opcode=2):
    head = bytes([0x80 | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", size)
    return head + bytes(4) + payload


async def ended(reader, writer):
    async with asyncio.timeout(5):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_handshakes(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            for token, path, status in (
                ("", "/tunnel", 401),
                ("wrong", "/tunnel", 401),
                (server.token, "/other", 404),
            ):
                reader, writer, line = await raw_websocket(server.port, token, path)
                assert str(status) in line
                await ended(reader, writer)
            assert server.app.counters.ended == {"unauthorised": 2, "path": 1}

    asyncio.run(main())


def test_oversized_text_and_noise(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            dice = random.Random(1)
            for sent in (
                masked(bytes(frames.MAX_FRAME + 1 << 1)),
                b"\x82\xff" + struct.pack(">Q", 1 << 62) + bytes(8),  # announces four exabytes
                masked(b"text", opcode=1),
                *(dice.randbytes(200) for _ in range(20)),
            ):
                reader, writer, _ = await raw_websocket(server.port)
                writer.write(sent)
                writer.write_eof()
                await ended(reader, writer)
            await until(lambda: server.app.counters.open == 0)

    asyncio.run(main())


def test_random_frames_never_break_the_server(tmp_path):
    async def main():
        dice = random.Random(2)
        async with served(tmp_path) as server:
            for _ in range(60):
                connection = await server.connect()
                try:
                    if dice.random() < 0.7:
                        await connection.send(HELLO)
                    for _ in range(5):
                        raw = bytearray(
                            dice.choice([HELLO, data(1), frames.encode(Open(3, "x")), frames.encode(Pong(1))])
                        )
                        raw[dice.randrange(len(raw))] = dice.randrange(256)
                        await connection.send(bytes(raw))
                except TransportClosedError:
                    pass
                await connection.close()
            await until(lambda: server.app.counters.open == 0)
            connection = await server.connect("d1")
            assert isinstance(await exchange(connection, Hello("d1", {})), Welcome)
            await connection.close()

    asyncio.run(main())


def test_no_hello_and_silence(tmp_path):
    async def main():
        async with served(tmp_path, limits=Limits(hello_timeout=0.1, idle_timeout=0.2)) as server:
            silent = await server.connect()
            assert (await final(silent)).code == Code.TIMEOUT
            later = await server.connect()
            await exchange(later, Hello("d0", {}))
            assert (await final(later)).code == Code.TIMEOUT

    asyncio.run(main())


def test_handshakes_that_never_end(tmp_path):
    async def main():
        async with served(tmp_path, handshake=0.2) as server:
            connection = await server.connect()
            begun = []
            for begin in (
                b"",
                b"GET /tunnel HTTP/1.1\r\nHost: x\r\n",
                b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(begin)
                begun.append(ended(reader, writer))
            await asyncio.gather(*begun, asyncio.sleep(0.4))
            assert isinstance(await exchange(connection, Hello("d0", {})), Welcome)
            await connection.close()

    asyncio.run(main())


def test_ping_flood_without_reading(tmp_path):
    """WebSocket pings are answered by the ASGI server, which must not gather the answers."""

    async def main():
        async with served(tmp_path, small=True) as server:
            _, writer, _ = await raw_websocket(server.port, small=True)
            writer.transport.pause_reading()
            flood = masked(bytes(125), opcode=9) * 2000
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(20):
                    while True:
                        writer.write(flood)
                        await writer.drain()
            await until(lambda: server.app.counters.open == 0)
            writer.transport.abort()

    asyncio.run(main())


def test_slow_reader_is_dropped(tmp_path):
    """A peer that sends and never reads does not make the server keep what it cannot send."""

    async def main():
        async with served(tmp_path, limits=Limits(send_timeout=0.2), small=True) as server:
            _, writer, line = await raw_websocket(server.port, small=True)
            assert "101" in line
            writer.transport.pause_reading()
            writer.write(masked(HELLO))
            ping = masked(frames.encode(frames.Ping(1)))
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(20):
                    while True:
                        writer.write(ping * 2000)
                        await writer.drain()
            await until(lambda: server.app.counters.open == 0)
            assert server.app.counters.ended == {"slow reader": 1}
            writer.transport.abort()

    asyncio.run(main())


def test_unacknowledged_bytes_are_bounded(tmp_path):
    """While the sink is stuck the server stops reading: what it holds does not grow."""
    from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

    class Stuck(SqliteSink):
        gate = None

        async def write(self, records):
            await self.gate.wait()
            await super().write(records)

    async def main():
        sink = Stuck(tmp_path / "sink.db")
        sink.gate = asyncio.Event()
        async with served(tmp_path, sink=sink, limits=Limits(window=200_000)) as server:
            connection = await server.connect()
            await exchange(connection, Hello("d0", {"s": 0}))

            async def flood():
                for seq in range(1, 301):
                    await connection.send(data(seq, os.urandom(50_000)))

            task = asyncio.create_task(flood())
            await until(lambda: server.app.counters.frames >= 4)
            await asyncio.sleep(0.2)
            assert server.app.counters.frames <= 5
            sink.gate.set()
            await task
            await acked(connection, 300)
            await connection.close()

    asyncio.run(main())


def test_too_many_connections(tmp_path):
    async def main():
        async with served(tmp_path, limits=Limits(connections=3, per_device=2)) as server:
            first = await server.connect()
            await exchange(first, Hello("d0", {}))
            others = [await server.connect() for _ in range(2)]
            with pytest.raises(TransportClosedError, match="503"):
                await server.connect("d1")
            for other in others:
                await exchange(other, Hello("d0", {}))
            assert (await final(first)).code == Code.LIMIT  # the newest win
            for other in others:
                await other.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense",
        frames.encode(Ack(0, 10**6)),
        frames.encode(Ack(9, 1)),
        frames.encode(Welcome({}, 1, [])) * 2,
        data(1),
    ],
    ids=["no frame", "ack of the future", "ack of nothing", "trailing", "data"],
)
def test_hostile_server(tmp_path, answer):
    """A client believes no server that talks nonsense, and keeps its payloads."""
    from websockets.asyncio.server import serve

    async def main():
        async def talk(ws):
            await ws.recv()
            await ws.send(frames.encode(Welcome({}, 1 << 20)))
            await ws.send(answer)
            await ws.wait_closed()

        async with serve(talk, "127.0.0.1", 0) as fake, served(tmp_path) as server:
            url = f"ws://127.0.0.1:{fake.sockets[0].getsockname()[1]}/"
            with Outbox(tmp_path / "o.db") as outbox:
                outbox.put("s", b"precious")
                async with server.client(outbox, url) as client:
                    with pytest.raises(TunnelError):
                        await client.flush(5)
                assert len(outbox) == 1

    asyncio.run(main())


def test_inbox():
    """What replaces uvicorn's queue keeps the order, whenever its reader waits or is cancelled."""

    async def main():
        inbox, dice, taken = Inbox(), random.Random(4), []
        for n in range(500):
            inbox.put_nowait(n)
            while dice.random() < 0.6:
                try:
                    async with asyncio.timeout(0):
                        taken.append(await inbox.get())
                except TimeoutError:
                    assert inbox.empty()
        while not inbox.empty():
            taken.append(await inbox.get())
        assert taken == list(range(500))
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put_nowait("late")
        inbox.put_nowait("later")
        assert [await reader, await inbox.get()] == ["late", "later"]

    asyncio.run(main())
