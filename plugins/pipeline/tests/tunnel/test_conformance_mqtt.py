"""What every transport must do, over MQTT and a real broker."""

import contextlib

import pytest
from harness import DEVICES, Served
from servers import listening
from transport_conformance import TransportConformance
from walle_pipeline.tunnel import mqtt
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


class TestMqtt(TransportConformance):
    @pytest.fixture(autouse=True)
    def on_broker(self, broker):
        self.broker = broker

    @contextlib.asynccontextmanager
    async def serve(self, folder):
        app = TunnelServer(SqliteSink(folder / "sink.db"), tokens(DEVICES))
        await app.start()
        listener = mqtt.MqttListener(self.broker.url, password="secret")
        try:
            async with listening(listener, app.listen(listener)):
                yield Served(self.broker.url, self.broker.address[1], app, mqtt.MqttTransport())
        finally:
            await app.stop()
