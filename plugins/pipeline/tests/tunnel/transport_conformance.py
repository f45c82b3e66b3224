"""What every transport must do. A transport's tests subclass `TransportConformance` and say how to serve.

`serve(folder)` is an asynchronous context manager that gives an object with the attributes of `harness.Served`.
"""

from __future__ import annotations

import asyncio

import pytest
from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.contract import MAX_FRAME, Connection, Transport
from walle_pipeline.tunnel.frames import Ack, Data, Hello, Ping, Pong, Welcome
from walle_pipeline.tunnel.outbox import Outbox


async def exchange(connection, *sent):
    """Sends frames; the next frame that comes."""
    for frame in sent:
        await connection.send(frames.encode(frame))
    async with asyncio.timeout(5):
        return frames.parse(await connection.receive())[0]


async def acked(connection, seq):
    """Waits for the acknowledgement of `seq`."""
    async with asyncio.timeout(5):
        while frames.parse(await connection.receive())[0] != Ack(0, seq):
            pass


class TransportConformance:
    def serve(self, folder):
        raise NotImplementedError

    def run(self, folder, work):
        async def main():
            async with self.serve(folder) as served:
                await work(served)

        asyncio.run(main())

    def test_protocols(self, tmp_path):
        async def work(served):
            assert isinstance(served.transport, Transport)
            connection = await served.connect()
            assert isinstance(connection, Connection)
            assert connection.device == "d0"
            await connection.close()

        self.run(tmp_path, work)

    def test_hello_welcome_data_ack(self, tmp_path):
        async def work(served):
            connection = await served.connect()
            welcome = await exchange(connection, Hello("d0", {"s": 0}))
            assert isinstance(welcome, Welcome)
            assert welcome.high_water == {}
            await connection.send(frames.encode(Data(0, 1, 0, b"one")))
            await acked(connection, 1)
            assert await exchange(connection, Ping(7)) == Pong(7)
            await connection.close()
            again = await served.connect()
            assert (await exchange(again, Hello("d0", {"s": 0}))).high_water == {"s": 1}
            await again.close()
            assert [(r.device, r.stream, r.seq, r.payload) for r in await served.stored()] == [
                ("d0", "s", 1, b"one")
            ]

        self.run(tmp_path, work)

    def test_order_and_sizes(self, tmp_path):
        async def work(served):
            sizes = [1, 125, 126, 65535, 65536, frames.MAX_PAYLOAD, 3]
            connection = await served.connect()
            await exchange(connection, Hello("d0", {"s": 0}))
            for seq, size in enumerate(sizes, 1):
                frame = frames.encode(Data(0, seq, 0, bytes([seq]) * size))
                assert len(frame) <= MAX_FRAME
                await connection.send(frame)
            await acked(connection, len(sizes))
            await connection.close()
            assert [len(r.payload) for r in await served.stored()] == sizes

        self.run(tmp_path, work)

    def test_close_ends_receive(self, tmp_path):
        async def work(served):
            connection = await served.connect()
            receiving = asyncio.create_task(connection.receive())
            await asyncio.sleep(0.01)
            await connection.close("enough")
            await connection.close("twice")
            with pytest.raises(TransportClosedError):
                await receiving
            with pytest.raises(TransportClosedError):
                await connection.send(frames.encode(Ping(1)))

        self.run(tmp_path, work)

    def test_server_ends(self, tmp_path):
        async def work(served):
            connection = await served.connect()
            await connection.send(b"nonsense that is no frame")
            async with asyncio.timeout(5):
                with pytest.raises(TransportClosedError):
                    while True:
                        await connection.receive()
            await connection.close()

        self.run(tmp_path, work)

    @pytest.mark.parametrize("token", ["wrong", "", "with space", "new\nline", "ü"])
    def test_wrong_token(self, tmp_path, token):
        async def work(served):
            with pytest.raises(TunnelError) as caught:
                await served.transport.connect(served.url, device="d0", token=token, tls=served.tls)
            assert not isinstance(caught.value, TransportClosedError)

        self.run(tmp_path, work)

    @pytest.mark.parametrize("url", ["", "nonsense", "ftp://127.0.0.1/", "//x"])
    def test_bad_url(self, tmp_path, url):
        async def work(served):
            with pytest.raises(TunnelError) as caught:
                await served.transport.connect(url, device="d0", token=served.token)
            assert not isinstance(caught.value, TransportClosedError)

        self.run(tmp_path, work)

    def test_client_delivers_exactly_once(self, tmp_path):
        async def work(served):
            payloads = [b"%d " % i * (i % 50 + 1) for i in range(400)]
            with Outbox(tmp_path / "out.db") as outbox:
                outbox.put_many([("a", p, None) for p in payloads[:100]])
                async with served.client(outbox) as client:
                    for payload in payloads[100:300]:
                        outbox.put("a", payload)
                    await client.flush(10)
                async with served.client(outbox) as client:
                    outbox.put_many([("a", p, None) for p in payloads[300:]])
                    outbox.put("b", b"other")
                    await client.flush(10)
                    assert client.stats.resent == 0
                assert len(outbox) == 0
            assert [r.payload for r in await served.stored(stream="a")] == payloads
            assert [r.payload for r in await served.stored(stream="b")] == [b"other"]

        self.run(tmp_path, work)

    def test_devices_do_not_mix(self, tmp_path):
        async def work(served):
            first, second = await served.connect("d1"), await served.connect("d2")
            for connection in (first, second):
                name = connection.device
                await exchange(connection, Hello(name, {"s": 0}))
                await connection.send(frames.encode(Data(0, 1, 0, name.encode())))
                await acked(connection, 1)
                await connection.close()
            assert [r.payload for r in await served.stored("d1")] == [b"d1"]
            assert [r.payload for r in await served.stored("d2")] == [b"d2"]

        self.run(tmp_path, work)

    def test_two_connections_of_one_device(self, tmp_path):
        async def work(served):
            first, second = await served.connect(), await served.connect()
            await exchange(first, Hello("d0", {"s": 0}))
            await exchange(second, Hello("d0", {"t": 1, "s": 0}))
            for seq in range(1, 51):
                frame = frames.encode(Data(0, seq, 0, b"%d" % seq))
                await first.send(frame)
                await second.send(frame)
            await asyncio.gather(acked(first, 50), acked(second, 50))
            await first.close()
            await second.close()
            assert [r.payload for r in await served.stored()] == [b"%d" % seq for seq in range(1, 51)]

        self.run(tmp_path, work)
