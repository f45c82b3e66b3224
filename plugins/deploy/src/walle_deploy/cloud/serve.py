"""Runs the cloud's side with uvicorn."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from walle_deploy.cloud.config import CloudText
from walle_deploy.errors import CloudError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(
    app: Any, text: CloudText, folder: Path, port: int | None, told: Callable[[str], Any] = lambda url: None
) -> None:
    """Serves until SIGINT or SIGTERM. Raises CloudError if it cannot be started.

    Arguments:
        port: instead of the file's.
        told: called with the URL once connections are taken.
    """
    try:
        import uvicorn

        from walle_deploy.server.logs import set_up
        from walle_deploy.server.protocol import Http
    except ImportError as error:
        raise CloudError(f"this needs more packages ({error}): pip install 'walle-deploy[cloud]'") from error
    if bool(text.cert) != bool(text.key):
        raise CloudError("cert and key belong together")
    if not text.cert and text.host not in _LOOPBACK:
        raise CloudError(
            f"{text.host}: tokens would travel in the clear; give cert and key, or listen on 127.0.0.1"
        )
    try:
        taken = socket.create_server((text.host, text.port if port is None else port), reuse_port=False)
    except (OSError, UnicodeError) as error:
        raise CloudError(
            f"{text.host}:{text.port}: cannot be listened on: {error}; choose another --port"
        ) from error
    set_up()
    config = uvicorn.Config(
        app,
        http=Http,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=str(folder / text.cert) if text.cert else None,
        ssl_keyfile=str(folder / text.key) if text.key else None,
    )
    with taken:
        # uvicorn raises the signal that ended it once more, when everything is closed
        signal.signal(signal.SIGTERM, lambda *_: None)
        server = uvicorn.Server(config)
        host, bound = taken.getsockname()[:2]
        told(f"{'https' if text.cert else 'http'}://{f'[{host}]' if ':' in host else host}:{bound}")
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            server.run([taken])
    if not server.started:
        raise CloudError("it did not start; the log says why")
