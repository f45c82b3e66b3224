"""A server's folder: its keys, its image repository and its secret, made once by ``walle deploy init``."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from walle_deploy.errors import DeployError, TrustError
from walle_deploy.server.settings import FILE, Settings
from walle_deploy.trust import Director, ImageRepository, RoleKeys, SigningKey, load_key, make_key
from walle_deploy.trust.keys import write_durably

OFFLINE = ("root", "targets")
ONLINE = ("snapshot", "timestamp", "director")
SECRET, PASSPHRASE = "secret", "online.passphrase"
_SECRET_BYTES = 32

_TOML = """\
# How this server is set up; every line may be left out, and options of `walle deploy serve` overrule them.
{lines}
"""


def make(folder: Path, passphrase: str, **options: str | int) -> Settings:
    """Makes the folder with everything in it but the database. Raises DeployError if there is one already.

    Args:
        folder: that is made; may exist, if it is empty.
        passphrase: of the keys `OFFLINE`, which may be moved away from the server.
        options: members of `Settings` that shall be in its file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DeployError(f"{folder}: is not empty; a server's folder is made in a new or empty one")
    except OSError as error:
        raise DeployError(f"{folder}: cannot be made: {error}") from error
    try:
        _fill(folder, passphrase, options)
    except BaseException as error:
        for path in folder.iterdir():  # nothing is left that would hinder the next try
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise DeployError(f"{folder}: cannot be made: {error}") from error
        raise
    return Settings.load(folder)


def _fill(folder: Path, passphrase: str, options: Mapping[str, str | int]) -> None:
    folder.chmod(0o700)
    for name in ("keys", "objects", "uploads", "workers"):
        (folder / name).mkdir(mode=0o700)
    write_durably(folder / SECRET, secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
    write_durably(folder / "keys" / PASSPHRASE, secrets.token_urlsafe(24).encode() + b"\n")
    (folder / "allowed_signers").write_text(
        "# who may sign versions of tasks, a line each: name ssh-ed25519 AAAA...\n", "utf-8"
    )
    online = {name: make_key(folder / "keys" / name, _online(folder)) for name in ONLINE}
    offline = {name: make_key(folder / "keys" / name, lambda _: passphrase) for name in OFFLINE}
    _publish_first(folder / "images", online, offline)
    lines = "\n".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in options.items())
    write_durably(folder / FILE, _TOML.format(lines=lines).encode())


def _publish_first(folder: Path, online: dict[str, SigningKey], offline: dict[str, SigningKey]) -> None:
    keys = {**online, **offline}
    roles = {name: RoleKeys([keys[name].public]) for name in ("root", "targets", "snapshot", "timestamp")}
    repository = ImageRepository.create(folder, roles, Director((keys["director"].public,)))
    for role in repository.staged():
        repository.sign(role, keys[role])
    repository.publish(keys["snapshot"], keys["timestamp"])


def secret(folder: Path) -> bytes:
    """What tokens of devices and prefixes of exclusive files are made with. Raises DeployError."""
    path = folder / SECRET
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise DeployError(f"{path}: others can read it; run `chmod 600 {path}`")
        made = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise DeployError(f"{path}: the server's secret cannot be read: {error}") from error
    if len(made) < _SECRET_BYTES:
        raise DeployError(f"{path}: {len(made)} bytes; at least {_SECRET_BYTES} are wanted")
    return made


def online_keys(folder: Path) -> dict[str, SigningKey]:
    """The keys that the server signs with. Raises DeployError."""
    return {name: load_key(folder / "keys" / name, _online(folder)) for name in ONLINE}


def _online(folder: Path) -> Callable[[Path], str]:
    def passphrase(_: Path) -> str:
        path = folder / "keys" / PASSPHRASE
        try:
            return path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TrustError(f"{path}: the online keys' passphrase cannot be read: {error}") from error

    return passphrase
