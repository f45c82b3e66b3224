"""Runs the server with uvicorn: one process, or several under a supervisor that starts those anew that die."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from walle_deploy.errors import DeployError
from walle_deploy.memory import settle
from walle_deploy.server import folder, tunnel
from walle_deploy.server.asgi import App
from walle_deploy.server.database import Database
from walle_deploy.server.logs import set_up
from walle_deploy.server.services import Services
from walle_deploy.server.settings import Settings
from walle_deploy.server.simulating import Simulating
from walle_deploy.server.simulating import check as check_simulation
from walle_deploy.server.supervisor import Supervisor
from walle_deploy.store.files import FileStore

BACKLOG = 4096
KEEP_ALIVE_S = 30
SHUTDOWN_S = 5
OPEN_FILES = 65_536
SWITCH_S = 0.0005

_EVERYWHERE = {"", "0.0.0.0", "::", "*"}  # noqa: S104 - compared with, not listened on


def serve(settings: Settings, told: Callable[[str], Any] = lambda url: None) -> None:
    """Serves until SIGINT or SIGTERM. Raises DeployError if it cannot be started.

    Args:
        settings: of the server.
        told: called with the URL once connections are taken.
    """
    try:
        import uvicorn
        from uvicorn.config import STARTUP_FAILURE

        from walle_deploy.server.protocol import Http
    except ImportError as error:
        raise DeployError(
            f"the server needs more packages ({error}): pip install 'walle-deploy[server]'"
        ) from error
    _check(settings)
    taken = _listen(settings)
    try:
        url = _url(settings, taken)
        settings = msgspec.structs.replace(settings, base_url=settings.base_url or _base_url(settings, url))
    except DeployError:
        taken.close()
        raise
    set_up()
    _allow_open_files()
    for path in settings.path("workers").glob("*.board"):  # of workers of an earlier run
        path.unlink(missing_ok=True)
    config = uvicorn.Config(
        App(partial(_opened, settings)),
        workers=settings.workers,
        http=Http,
        ws=tunnel.PROTOCOL if tunnel.wanted(settings) else "none",
        ws_max_size=1 << 20,  # the tunnel's MAX_FRAME
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies or None,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        ssl_certfile=settings.cert or None,
        ssl_keyfile=settings.key or None,
    )
    told(url)
    with taken, Simulating(settings) if settings.simulate else contextlib.nullcontext():
        if settings.workers > 1:
            failed = not Supervisor(_work, (config, taken), settings.workers, STARTUP_FAILURE).run()
        else:
            # uvicorn raises the signal that ended it once more, when everything is closed
            signal.signal(signal.SIGTERM, lambda *_: None)
            server = uvicorn.Server(config)
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                server.run([taken])
            failed = not server.started
    if failed:
        raise DeployError("the server did not start; its log says why")


def _work(config: Any, taken: socket.socket) -> None:
    """What each of several processes does."""
    import uvicorn

    set_up()
    uvicorn.Server(config).run([taken])


def _opened(settings: Settings) -> Services:
    # The writer's thread computes for long; requests must not wait for it whenever they gave up the interpreter's lock.
    sys.setswitchinterval(SWITCH_S)
    set_up()
    made = Services.open(settings)
    settle()
    return made


def _listen(settings: Settings) -> socket.socket:
    """A socket that takes connections from now on, before the first worker is there, and while one is started anew."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((settings.host, settings.port))
        made.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        made.close()
        raise DeployError(
            f"{settings.host}:{settings.port}: cannot be listened on: {error}; choose another --port"
        ) from error
    made.set_inheritable(True)
    return made


def _url(settings: Settings, taken: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.cert else 'http'}://{host}:{taken.getsockname()[1]}"


def _base_url(settings: Settings, url: str) -> str:
    if settings.host in _EVERYWHERE:
        raise DeployError(
            f"listening on {settings.host or 'every address'}: devices need to be told where files are; "
            "give --base-url https://HOST/walle"
        )
    return f"{url}/walle"


def _check(settings: Settings) -> None:
    """Raises DeployError for what every worker would find out by itself."""
    folder.secret(settings.path())
    folder.online_keys(settings.path())
    FileStore.open(settings.store_url)
    Database.open(settings.database_url).close()
    if settings.simulate:
        check_simulation(settings)
    if settings.cloud:
        from walle_deploy.cloud.shown import Shown

        Shown(settings.path(settings.cloud)).close()
    if not settings.cert:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise DeployError(
            f"{settings.cert}, {settings.key}: no certificate with its key in PEM: {error}"
        ) from error


def _allow_open_files() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
