"""MQTT as a transport: frames through a real broker, who may do what, and what happens when a side is lost."""

import asyncio
import contextlib

import pytest
from harness import MQTT_DEVICES as DEVICES
from servers import library, listening, mosquitto
from walle_pipeline.errors import FrameError, TransportClosedError, TunnelError
from walle_pipeline.tunnel import mqtt
from walle_pipeline.tunnel.contract import MAX_FRAME, Connection, Listener, Transport


@contextlib.asynccontextmanager
async def accepting(broker):
    """A queue of the connections that a listener accepts."""
    listener = mqtt.MqttListener(broker.url, password="secret")
    queue = asyncio.Queue()

    async def take():
        async with contextlib.aclosing(listener.connections()) as connections:
            async for connection in connections:
                queue.put_nowait(connection)

    async with listening(listener, take()):
        yield queue


async def pair(broker, queue, device="d1"):
    client = await mqtt.MqttTransport().connect(broker.url, device=device, token=DEVICES[device])
    async with asyncio.timeout(5):
        return client, await queue.get()


def run(work):
    async def main():
        async with asyncio.timeout(30):
            await work()

    asyncio.run(main())


def test_protocols():
    assert isinstance(mqtt.MqttTransport(), Transport)

    async def work():
        assert isinstance(mqtt.MqttListener("mqtt://x"), Listener)

    run(work)


@pytest.mark.parametrize("device", ["d1", "d2", "ü x"])
def test_frames_both_ways(broker, device):
    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue, device)
            assert isinstance(client, Connection)
            assert isinstance(server, Connection)
            assert client.device == server.device == device
            sent = [bytes([n % 256]) * size for n, size in enumerate([1, 0, 5, MAX_FRAME, 3, *range(300)])]
            for one, other in ((client, server), (server, client)):

                async def send(one=one):
                    for frame in sent:
                        await one.send(frame)

                task = asyncio.create_task(send())
                assert [await other.receive() for _ in sent] == sent
                await task
            with pytest.raises(FrameError):
                await client.send(bytes(MAX_FRAME + 1))
            await client.close("done")
            await client.close()
            with pytest.raises(TransportClosedError, match="done"):
                await server.receive()
            for end in (client, server):
                with pytest.raises(TransportClosedError):
                    await end.send(b"x")
                with pytest.raises(TransportClosedError):
                    await end.receive()

    run(work)


def test_many_connections(broker):
    async def work():
        async with accepting(broker) as one, accepting(broker) as two:
            clients = [
                await mqtt.MqttTransport().connect(broker.url, device=device, token=DEVICES[device])
                for device in ("d1", "d2") * 6
            ]
            servers = [queue.get_nowait() for queue in (one, two) for _ in range(queue.qsize())]
            assert len(servers) == 12
            assert not one.empty() or one.qsize() == two.qsize() == 0
            for n, client in enumerate(clients):
                await client.send(b"%d" % n)
            got = {int(await server.receive()): server for server in servers}
            for n, server in got.items():
                assert server.device == clients[n].device
                await server.send(b"to %d" % n)
            assert [await client.receive() for client in clients] == [b"to %d" % n for n in range(12)]
            await asyncio.gather(*(client.close() for client in clients))

    run(work)


def test_slow_reader_holds_the_sender(broker):
    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue)
            sent = 0

            async def send():
                nonlocal sent
                for n in range(200):
                    await client.send(b"%d" % n)
                    sent += 1

            task = asyncio.create_task(send())
            await asyncio.sleep(0.3)
            assert sent == mqtt.WINDOW
            assert [await server.receive() for _ in range(200)] == [b"%d" % n for n in range(200)]
            await task
            await client.close()

    run(work)


def test_lost_device(broker):
    """A device whose network is cut: the broker publishes its last will."""

    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue)
            await client.send(b"last")
            async with asyncio.timeout(5):
                while client._running or server._frames.empty():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            paho = client._publish.__closure__
            inner = next(cell.cell_contents for cell in paho if hasattr(cell.cell_contents, "messages"))
            inner._client.socket().shutdown(2)
            assert await server.receive() == b"last"
            with pytest.raises(TransportClosedError, match="lost"):
                await server.receive()
            with pytest.raises(TransportClosedError):
                await client.receive()

    run(work)


def test_server_stops(broker):
    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue)
            await server.send(b"last")
        assert await client.receive() == b"last"
        with pytest.raises(TransportClosedError, match="server stops"):
            await client.receive()

    run(work)


def test_broker_restarts(tmp_path):
    library("aiomqtt")

    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue)
            await asyncio.to_thread(broker.stop)
            for end in (client, server):
                with pytest.raises(TransportClosedError):
                    await end.receive()
            with pytest.raises(TransportClosedError):
                await pair(broker, queue)
            await asyncio.to_thread(broker.start)
            while True:
                try:
                    client, server = await pair(broker, queue)
                    break
                except TransportClosedError:
                    await asyncio.sleep(0.05)
            await client.send(b"again")
            assert await server.receive() == b"again"
            await client.close()

    with mosquitto(tmp_path / "own", DEVICES) as broker:
        run(work)


@pytest.mark.parametrize(
    "device, token",
    [("d1", "wrong"), ("d1", DEVICES["d2"]), ("nobody", DEVICES["d1"]), ("d1", ""), ("a/b", DEVICES["d1"])],
)
def test_refused(broker, device, token):
    async def work():
        with pytest.raises(TunnelError) as caught:
            await mqtt.MqttTransport().connect(broker.url, device=device, token=token)
        assert not isinstance(caught.value, TransportClosedError)

    run(work)


def test_server_refused(broker):
    async def work():
        with pytest.raises(TunnelError, match="refuses"):
            async for _ in mqtt.MqttListener(broker.url, password="wrong").connections():
                pass

    run(work)


def test_no_server_listens(broker, monkeypatch):
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT", 0.3)

    async def work():
        with pytest.raises(TransportClosedError, match="does a server listen"):
            await mqtt.MqttTransport().connect(broker.url, device="d1", token=DEVICES["d1"])

    run(work)


def test_other_devices_topics_are_closed(broker):
    """A device that is let in can neither speak for another one nor listen to it."""
    aiomqtt = library("aiomqtt")

    async def work():
        async with accepting(broker) as queue:
            client, server = await pair(broker, queue)
            number = next(
                iter(c for c in client._publish.__closure__ if isinstance(c.cell_contents, str))
            ).cell_contents

            @contextlib.asynccontextmanager
            async def thief():
                options = {
                    "username": "d2",
                    "password": DEVICES["d2"],
                    "protocol": aiomqtt.ProtocolVersion.V5,
                }
                with contextlib.suppress(
                    aiomqtt.MqttError
                ):  # the broker may end a client that it refuses something
                    async with aiomqtt.Client("127.0.0.1", broker.address[1], timeout=0.5, **options) as one:
                        mqtt._retrieved(one)
                        yield one

            for topic in (number, number.replace("/up/", "/open/")):
                async with thief() as one:
                    await one.publish(topic, mqtt._HEAD.pack(mqtt.FRAME, 0) + b"forged", qos=1)
            async with thief() as one:
                with contextlib.suppress(aiomqtt.MqttError):
                    await one.subscribe("walle/down/#", qos=1)
                await server.send(b"private")
                await client.send(b"genuine")
                assert await server.receive() == b"genuine"
                assert await client.receive() == b"private"
                await asyncio.sleep(0.1)
                assert len(one.messages) == 0
            assert queue.empty()
            await client.close()

    run(work)


def ends():
    """A connection that is not connected, and what it publishes."""
    out = []

    async def publish(message):
        out.append(message)

    async def ended():
        out.append(None)

    return mqtt.MqttConnection("d", publish, ended), out


def test_lost_repeated_and_hostile_messages():
    async def work():
        def message(kind, count, body=b""):
            return mqtt._HEAD.pack(kind, count) + body

        connection, _ = ends()
        for count, body in ((0, b"a"), (0, b"a"), (1, b"b"), (0, b"a"), (2, b"c")):
            connection.arrived(message(mqtt.FRAME, count, body))
        assert [await connection.receive() for _ in range(3)] == [b"a", b"b", b"c"]
        connection.arrived(message(mqtt.FRAME, 4, b"e"))
        with pytest.raises(TransportClosedError, match="lost"):
            await connection.receive()
        for hostile in (b"", b"\0", message(77, 0), message(mqtt.CREDIT, 0, b"x"), message(mqtt.OPEN, 0)):
            connection, _ = ends()
            connection.arrived(hostile)
            with pytest.raises(TransportClosedError):
                await connection.receive()
        connection, _ = ends()
        for n in range(1000):
            connection.arrived(message(mqtt.FRAME, n, b"x"))
        assert connection._frames.qsize() <= 2 * mqtt.WINDOW + 1
        connection, out = ends()
        connection._received = connection._sent = 0xFFFFFFFF
        connection.arrived(message(mqtt.FRAME, 0xFFFFFFFF, b"a"))
        connection.arrived(message(mqtt.FRAME, 0, b"b"))
        assert [await connection.receive(), await connection.receive()] == [b"a", b"b"]
        await connection.send(b"1")
        await connection.send(b"2")
        assert out == [message(mqtt.FRAME, 0xFFFFFFFF, b"1"), message(mqtt.FRAME, 0, b"2")]
        await connection.close()

    run(work)
