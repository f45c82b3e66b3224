"""The tunnel of walle-pipeline beside the checks: reports go to the platform, everything else to the tunnel's sink."""

from __future__ import annotations

import importlib.util
from typing import Any

from walle_deploy.errors import DeployError
from walle_deploy.server.auth import is_device_token
from walle_deploy.server.platform import Platform
from walle_deploy.server.settings import Settings
from walle_deploy.server.types import DeviceReport

PATH = "/tunnel"
PROTOCOL = "walle_deploy.server.tunnel:Protocol"
"""Where uvicorn finds the class of the tunnel's connections: by name, for other processes cannot be sent the class."""
NONE = "none"  # as the setting `tunnel`: there is none


def __getattr__(name: str) -> Any:
    if name != "Protocol":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from walle_pipeline.tunnel.serve import websockets

    return websockets()


def wanted(settings: Settings) -> bool:
    """Whether there is to be a tunnel: unless it was turned off, or walle-pipeline is not installed and not asked for.

    Raises DeployError if it was asked for and is not installed.
    """
    if settings.tunnel == NONE:
        return False
    missing = [name for name in ("walle_pipeline", "websockets") if importlib.util.find_spec(name) is None]
    if missing and settings.tunnel:
        raise DeployError(f"the tunnel needs {missing[0]}: pip install 'walle-deploy[pipeline]' websockets")
    return not missing


def tunnel(settings: Settings, platform: Platform, secret: bytes) -> Any:
    """The tunnel's server, an ASGI application, whose `start` and `stop` are to be awaited. Raises DeployError."""
    from walle_pipeline.tunnel.server import TunnelServer
    from walle_pipeline.tunnel.sinks import sink_for

    from walle_core.errors import WalleError
    from walle_deploy.agent.sink import OutcomeSink, authenticate

    try:
        inner = sink_for(settings.tunnel or str(settings.path("tunnel.db")))
    except WalleError as error:
        raise DeployError(f"tunnel {settings.tunnel!r}: {error}") from error

    def take(device: str, outcomes: list[Any]) -> Any:
        return platform.begin_report(
            device, [DeviceReport(o.number, o.task, o.version, o.failed, o.values, o.why) for o in outcomes]
        )

    return TunnelServer(
        OutcomeSink(inner, take), authenticate(lambda device, token: is_device_token(secret, device, token))
    )
