"""What every transport must do, over MQTT and a real broker."""

import asyncio
import contextlib

from harness import DEVICES, Served
from servers import library, mosquitto
from transport_conformance import TransportConformance
from walle_pipeline.tunnel import mqtt
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


class TestMqtt(TransportConformance):
    @contextlib.asynccontextmanager
    async def serve(self, folder):
        library("aiomqtt")
        with mosquitto(folder / "broker", DEVICES) as broker:
            url = f"mqtt://127.0.0.1:{broker.port}"
            app = TunnelServer(SqliteSink(folder / "sink.db"), tokens(DEVICES))
            await app.start()
            listener = mqtt.MqttListener(url, password="secret")
            task = asyncio.create_task(app.listen(listener))
            try:
                async with asyncio.timeout(10):
                    await listener.listening.wait()
                yield Served(url, broker.port, app, mqtt.MqttTransport())
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await app.stop()
