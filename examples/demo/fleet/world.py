"""What the demonstration's fleet needs around it: keys, a scenario in git, a server in its own process, and its stop."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from walle_deploy.client import DeployClient
from walle_deploy.publish import publish
from walle_deploy.server import folder as server_folder
from walle_deploy.server.auth import Tokens
from walle_deploy.server.database import Database
from walle_deploy.task.repo import Scenario
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.sshsig import SigningKey as TagKey
from walle_deploy.trust import SigningKey, load_key

from fleet.task import NAME, STREAM

CLOUD = "cloud.toml"
_CLOUD = f"""\
database = "sqlite:///cloud.db"
[[task]]
model = "large"                        # a network in the demonstration's own process
name = "{NAME}"
stream = "{STREAM}"
[price]
cpu_hour = 0.04
gb = 0.08
"""
_LISTENING = re.compile(r"listening on (\S+)")


@attrs.frozen
class World:
    """A server that runs, and those who use it.

    Attributes:
        url: of the server.
        folder: of the server.
        operator: makes and watches releases.
        approver: approves them.
        token: of an administrator, for the dashboard.
        enrol: with which devices register.
        root: the metadata that devices are made with.
        scenario: the tasks, in git.
        tag_key: signs versions.
        image_key: signs images.
    """

    url: str
    folder: Path
    operator: DeployClient
    approver: DeployClient
    token: str
    enrol: str
    root: bytes
    scenario: Scenario
    tag_key: TagKey
    image_key: SigningKey

    @property
    def tunnel(self) -> str:
        """URL of the tunnel."""
        return f"ws{self.url.removeprefix('http')}/tunnel"

    def version(self, task: str, files: dict[str, bytes], message: str) -> int:
        """Commits a version, signs its tag and its image, and brings it to the server; its number."""
        self.scenario.commit(task, files, message)
        number = self.scenario.tag(task, self.tag_key, message).number
        signers = Signers.load(self.folder / "allowed_signers")
        self.operator.task(task, create=True)
        publish(self.operator, self.scenario, task, number, signers, self.image_key)
        return number


@contextmanager
def world(place: Path) -> Iterator[World]:
    """Makes all of it in an empty folder; the server has ended when the context has."""
    folder, passphrase = place / "server", secrets.token_urlsafe(18)
    settings = server_folder.make(folder, passphrase, cloud=CLOUD)
    (folder / CLOUD).write_text(_CLOUD, "utf-8")
    tag_key = TagKey.generate()
    (folder / "allowed_signers").write_text(f"demo {tag_key.public}\n", "utf-8")
    database = Database.open(settings.database_url)
    tokens = Tokens(database)
    admin, operator, approver, enrol = (
        tokens.make(name, role, 1)[1]
        for name, role in (
            ("admin", "admin"), ("olga", "operator"), ("amir", "approver"), ("devices", "enrol"),
        )
    )  # fmt: skip
    database.close()
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "walle_core", "deploy", "serve", str(folder), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if (found := _LISTENING.search(said)) is None:
            raise RuntimeError(f"the server did not start; {folder / 'server.log'} says why")
        with DeployClient(found[1], operator) as client, DeployClient(found[1], approver) as other:
            yield World(
                found[1], folder, client, other, admin, enrol,
                (folder / "images" / "metadata" / "1.root.json").read_bytes(),
                Scenario.init(place / "tasks", "demo", bare=True), tag_key,
                load_key(folder / "keys" / "targets", lambda _: passphrase),
            )  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
