"""Makes the helpers of this folder importable: the importlib mode adds no folder of its own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import MQTT_DEVICES
from servers import library, mosquitto
from walle_pipeline.tunnel import websocket


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One MQTT broker for all tests that do not stop it, with the devices of `harness`."""
    library("aiomqtt")
    with mosquitto(tmp_path_factory.mktemp("mqtt"), MQTT_DEVICES) as server:
        yield server


@pytest.fixture(autouse=True)
def short_goodbyes(monkeypatch):
    """A connection that the chaos proxy froze never answers a close."""
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.2)
