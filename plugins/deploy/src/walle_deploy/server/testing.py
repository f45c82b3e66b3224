"""A real server for tests of what talks to it: its own process, folder, keys and tokens, gone afterwards."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from walle_deploy.manifest import File, Manifest
from walle_deploy.server import folder as folders
from walle_deploy.server.auth import Tokens
from walle_deploy.server.database import Database
from walle_deploy.server.settings import Settings
from walle_deploy.task.sshsig import SigningKey as TaskKey
from walle_deploy.task.tags import Version, make_tag
from walle_deploy.trust import SigningKey, load_key

PASSPHRASE = "a passphrase for tests"  # noqa: S105
QUICK: Mapping[str, Any] = {"stages": [{"kind": "full", "control": 0.0, "gates": []}], "watch": 0}
"""A plan without control: everybody gets the version at once."""
START_S = 30.0
_LISTENING = re.compile(r"listening on (\S+)")


@attrs.frozen
class Answered:
    """What came for a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)


class RefusedError(AssertionError):
    """A request that should have been taken was not."""


@attrs.define(eq=False)
class RunningServer:
    """A server that runs.

    Attributes:
        url: of the server.
        folder: of the server.
        process: of the server, the supervisor where there are several workers.
        tokens: role -> token, of viewer, operator, approver and admin.
        enrol: the enrolment secret.
        root: the root metadata that devices are made with.
        keys: of the image repository by role, and the director's.
        signer: may sign versions.
        log: file of the server's log.
        settings: as they are in its file.
    """

    url: str
    folder: Path
    process: subprocess.Popen[str]
    tokens: dict[str, str]
    enrol: str
    root: bytes
    keys: dict[str, SigningKey]
    signer: TaskKey
    log: Path
    settings: Settings

    @property
    def base_url(self) -> str:
        """Below which devices ask and pull."""
        return f"{self.url}/walle"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str | None = "admin",
        headers: Mapping[str, str] | None = None,
        expect: int | None = None,
        timeout: float = 30.0,
    ) -> Answered:
        """One request on a connection of its own. Raises RefusedError if `expect` is another status.

        Args:
            method: of HTTP.
            path: whole, such as ``/api/v1/tasks``.
            body: bytes as they are; anything else as JSON.
            role: whose token goes along; None: no token.
            headers: further ones.
            expect: status.
            timeout: seconds for each read.
        """
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("authorization", f"Bearer {self.tokens[role]}")
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            made = Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if expect is not None and made.status != expect:
            raise RefusedError(
                f"{method} {path}: {made.status} instead of {expect}: {made.body.decode(errors='replace')[:500]}"
            )
        return made

    def register(self, device: str) -> str:
        """The token of a device."""
        asked = {"id": device, "enrol": self.enrol}
        return str(self.call("POST", "/walle/register", asked, role=None, expect=200).json["token"])

    def add_task(self, name: str, policy: Mapping[str, Any] | None = None) -> None:
        """A task, for everyone if nothing else is said."""
        self.call("POST", "/api/v1/tasks", {"name": name, "policy": policy or {"everyone": True}}, expect=201)

    def publish(
        self, task: str, number: int, files: Mapping[str, bytes], message: str = "a version"
    ) -> Manifest:
        """Brings a version with these files (path -> content) to where it can be released; there must be the task."""
        listed = []
        for path, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            listed.append(File(path, sha256, len(data)))
            if self.call("HEAD", f"/api/v1/files/{sha256}").status == 404:
                self.call("PUT", f"/api/v1/files/{sha256}", data, expect=201)
        manifest = Manifest.of(task, f"v{number}", listed)
        self.call(
            "POST", f"/api/v1/tasks/{task}/versions", self.version(manifest, number, message), expect=201
        )
        self.sign(self.call("POST", f"/api/v1/images/{task}/{number}/stage", expect=200).json)
        return manifest

    def version(self, manifest: Manifest, number: int, message: str = "a version") -> dict[str, Any]:
        """The body that adds a version, its tag signed by `signer`."""
        commit = hashlib.sha1(manifest.encode(), usedforsecurity=False).hexdigest()
        tag = make_tag(
            Version(manifest.task, number, commit, message, int(time.time()), "Test <t@e>"), self.signer
        )
        return {
            "number": number,
            "commit": commit,
            "message": message,
            "tagger": "Test <t@e>",
            "tag_object": base64.b64encode(tag.as_raw_string()).decode(),
            "manifest": base64.b64encode(manifest.encode()).decode(),
        }

    def sign(self, proposal: Mapping[str, Any]) -> None:
        """Signs what a stage of images gave, and publishes it."""
        key = self.keys[proposal["role"]]
        made = key.private.sign(base64.b64decode(proposal["metadata"])).hex()
        signature = {"role": proposal["role"], "keyid": key.public.tuf.keyid, "signature": made}
        self.call("POST", "/api/v1/images/sign", signature, expect=200)
        self.call("POST", "/api/v1/images/publish", expect=200)

    def release(self, task: str, number: int, plan: Mapping[str, Any] = QUICK) -> int:
        """Begins to release a version; the number of the release."""
        body = {"version": number, "plan": plan}
        return int(self.call("POST", f"/api/v1/tasks/{task}/releases", body, expect=201).json["id"])

    def workers(self) -> list[int]:
        """Ids of the processes that serve: the workers, or the only process."""
        own = self.process.pid
        found = Path(f"/proc/{own}/task/{own}/children").read_text("ascii").split()
        names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
        return [pid for pid, line in names.items() if b"spawn_main" in line] or [own]

    def logged(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [
            msgspec.json.decode(line) for line in self.log.read_bytes().splitlines() if line.startswith(b"{")
        ]

    def stop(self, timeout: float = 15.0) -> int:
        """Ends the server as a supervisor would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def running_server(
    tmp_path: Path, *, name: str = "server", arguments: Sequence[str] = (), **options: Any
) -> Iterator[RunningServer]:
    """A server in a folder below `tmp_path` that listens on a free port of 127.0.0.1 until the end of the context.

    Args:
        tmp_path: an empty folder; that of an earlier server of the same `name` is served again.
        name: of the server's folder.
        arguments: further ones of `walle deploy serve`.
        options: members of `Settings`, such as ``workers=2`` or ``database="postgresql://…"``.
    """
    folder = tmp_path / name
    known = folder / "testing.json"
    if not known.exists():
        _make(folder, known, options)
    said = msgspec.json.decode(known.read_bytes())
    settings = Settings.load(folder)
    log = folder / "server.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "walle_core", "deploy", "serve", str(folder), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        running = RunningServer(
            _told(process, log),
            folder,
            process,
            said["tokens"],
            said["enrol"],
            _root(folder),
            {**folders.online_keys(folder), **_offline(folder)},
            TaskKey.load(folder / "signer"),
            log,
            settings,
        )
        _wait(running)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _make(folder: Path, known: Path, options: Mapping[str, Any]) -> None:
    settings = folders.make(folder, PASSPHRASE, **options)
    signer = TaskKey.generate()
    signer.save(folder / "signer")
    settings.path(settings.allowed_signers).write_text(f"tester {signer.public}\n", "utf-8")
    database = Database.open(settings.database_url)
    tokens = Tokens(database)
    made = {role: tokens.make(role, role, 30)[1] for role in ("viewer", "operator", "approver", "admin")}
    enrol = tokens.make("devices", "enrol", 30)[1]
    database.close()
    known.write_bytes(msgspec.json.encode({"tokens": made, "enrol": enrol}))


def _root(folder: Path) -> bytes:
    return (folder / "images" / "metadata" / "1.root.json").read_bytes()


def _offline(folder: Path) -> dict[str, SigningKey]:
    return {name: load_key(folder / "keys" / name, lambda _: PASSPHRASE) for name in folders.OFFLINE}


def _told(process: subprocess.Popen[str], log: Path) -> str:
    """The URL that the server prints when it listens."""
    assert process.stdout is not None
    found = _LISTENING.search(process.stdout.readline())
    if found is None:
        process.wait(START_S)
        raise RefusedError(f"the server did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")
    return found[1]


def _wait(running: RunningServer) -> None:
    """Until a worker answers that it is healthy: connections wait for one that starts."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and running.process.poll() is None:
        with contextlib.suppress(OSError):
            if running.call("GET", "/healthz", role=None).status == 200:
                return
        time.sleep(0.02)
    raise RefusedError(f"the server is not healthy:\n{running.log.read_text('utf-8', 'replace')[-4000:]}")
