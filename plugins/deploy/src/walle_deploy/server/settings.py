"""How a server is set up: its folder, and the file ``server.toml`` in it that options of the command overrule."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec

from walle_deploy.errors import DeployError

FILE = "server.toml"
PORT = 8711


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a worker needs to know. Relative paths are below the folder.

    Attributes:
        folder: of the server, as `walle deploy init` makes it.
        host: that is listened on.
        port: likewise; 0 takes a free one.
        workers: processes.
        database: URL; SQLite in the folder by default.
        store: path or URL of the files; in the folder by default.
        base_url: under which devices reach what is below ``/walle``; by default this host and port.
        allowed_signers: file of the keys that may sign versions, as git's gpg.ssh.allowedSignersFile.
        cert: PEM file of the certificates for TLS.
        key: PEM file of their key.
        tunnel: where the tunnel stores what devices send beside their reports: a file, ``nats://`` or ``postgresql://``; by
            default a file in the folder if walle-pipeline is installed; ``none`` for no tunnel.
        proxies: addresses of proxies whose X-Forwarded-For and -Proto are believed, divided by commas.
        simulate: files and folders of recorded events, by which this server judges releases that are in their simulation stage.
        simulate_limits: TOML file of what a simulation must show.
        simulate_schema: the kinds of the application's events, ``module:attribute``.
        cloud: file of `walle cloud serve`, whose costs the dashboard shows.
    """

    folder: str
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = PORT
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    database: str = ""
    store: str = ""
    base_url: str = ""
    allowed_signers: str = "allowed_signers"
    cert: str = ""
    key: str = ""
    tunnel: str = ""
    proxies: str = ""
    simulate: tuple[str, ...] = ()
    simulate_limits: str = ""
    simulate_schema: str = ""
    cloud: str = ""

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **options: Any) -> Self:
        """What the folder's file says, except where an option is given. Raises DeployError."""
        path = Path(folder) / FILE
        try:
            said = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise DeployError(
                f"{folder}: no server's folder; make one with `walle deploy init {folder}`"
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DeployError(f"{path}: cannot be read: {error}") from error
        given = {name: value for name, value in options.items() if value not in (None, ())}
        try:
            made = msgspec.convert({**said, **given, "folder": str(Path(folder).absolute())}, cls)
        except msgspec.ValidationError as error:
            raise DeployError(f"{path}: {error}; correct it, or leave it out") from error
        if bool(made.cert) != bool(made.key):
            raise DeployError("TLS needs both a certificate and its key: --cert FILE --key FILE")
        return made

    def path(self, *names: str) -> Path:
        """Something in the folder."""
        return Path(self.folder, *names)

    @property
    def database_url(self) -> str:
        """For SQLAlchemy."""
        return self.database or f"sqlite:///{self.path('walle.db')}"

    @property
    def store_url(self) -> str:
        """For FileStore."""
        return self.store or str(self.path("objects"))
