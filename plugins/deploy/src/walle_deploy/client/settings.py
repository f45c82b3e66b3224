"""Which server, and as whom: from the environment, the scenario's git config, and a file that only its owner can read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from walle_deploy.client.api import DeployClient
from walle_deploy.client.http import ServerError
from walle_deploy.errors import DeployError
from walle_deploy.trust.keys import write_durably

SECTION = "deploy"
Config = Callable[[str], str | None]


@attrs.frozen
class Settings:
    """What a connection needs.

    Attributes:
        server: its URL.
        token: of the operator.
        ca: file of certificates to trust; "" for the system's.
        certificate: file of the client's certificate and key; "" for none.
        open_http: whether the token may go unencrypted to another machine.
    """

    server: str
    token: str = attrs.field(repr=False, default="")
    ca: str = ""
    certificate: str = ""
    open_http: bool = False

    def client(self) -> DeployClient:
        """A client of the server. Raises ServerError."""
        return DeployClient(
            self.server,
            self.token,
            ca=self.ca or None,
            certificate=self.certificate or None,
            open_http=self.open_http,
        )


def settings(config: Config = lambda name: None) -> Settings:
    """From WALLE_SERVER, WALLE_TOKEN, WALLE_CA, WALLE_CERTIFICATE and WALLE_OPEN_HTTP; what is not set there from
    `config`, and the token from `tokens_file`. Raises ServerError if no server is named.
    """

    def get(name: str) -> str:
        return os.environ.get(f"WALLE_{name.upper()}") or config(name) or ""

    server = get("server").rstrip("/")
    if not server:
        raise ServerError(
            "no server is named: set WALLE_SERVER, or `git config deploy.server https://…` in the scenario"
        )
    token = os.environ.get("WALLE_TOKEN") or _tokens().get(server, "")
    open_http = os.environ.get("WALLE_OPEN_HTTP", "") not in {"", "0"}
    return Settings(server, token.strip(), get("ca"), get("certificate"), open_http)


def git_config(git: Any) -> Config:
    """Names of the section ``[deploy]`` of a repository's configuration, and of what it inherits."""

    def get(name: str) -> str | None:
        try:
            return str(git.get_config_stack().get((SECTION.encode(),), name.encode()).decode())
        except KeyError:
            return None

    return get


def tokens_file() -> Path:
    """Where tokens are kept, by server: ``walle/tokens.json`` in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "walle" / "tokens.json"


def remember(server: str, token: str) -> Path:
    """Keeps a token for its owner only; an empty one is forgotten. Raises DeployError."""
    path = tokens_file()
    kept = {**_tokens(), server.rstrip("/"): token}
    if not token:
        del kept[server.rstrip("/")]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DeployError(f"{path.parent}: cannot be made: {error.strerror}") from error
    write_durably(path, json.dumps(kept, indent=1).encode() + b"\n")
    return path


def _tokens() -> dict[str, str]:
    path = tokens_file()
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise DeployError(
                    f"{path}: mode {mode:04o} lets others read your tokens; run `chmod 600 {path}`"
                )
            found = json.loads(file.read(1 << 20))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DeployError(f"{path}: cannot be read: {error}; remove it and log in again") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise DeployError(f"{path}: holds no tokens; remove it and log in again")
    return found
