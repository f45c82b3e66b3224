"""A real server for tests of what talks to it: its own process, folder, keys and tokens, gone afterwards."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from walle_deploy.server.settings import Settings
from walle_deploy.server.testing.asking import KNOWN, Answered, RefusedError, Requests, make_folder, said
from walle_deploy.task.sshsig import SigningKey as TaskKey
from walle_deploy.trust import SigningKey

START_S = 120.0
_LISTENING = re.compile(r"listening on (\S+)")


@attrs.define(eq=False)
class RunningServer(Requests):
    """A server that runs.

    Attributes:
        url: of the server.
        folder: of the server.
        process: of the server, the supervisor where there are several workers.
        root: the root metadata that devices are made with.
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
        """See Requests; on a connection of its own, with so many seconds for each read."""
        data, sent = self._packed(body, role, headers)
        where = urlsplit(self.url).netloc
        connection = (
            http.client.HTTPSConnection(where, timeout=timeout, context=ssl._create_unverified_context())  # noqa: S323
            if self.url.startswith("https")
            else http.client.HTTPConnection(where, timeout=timeout)
        )
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            made = Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        return made.checked(method, path, expect)

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
    settings = Settings.load(folder) if (folder / KNOWN).exists() else make_folder(folder, **options)
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
            url=_told(process, log),
            folder=folder,
            process=process,
            root=_root(folder),
            log=log,
            settings=settings,
            **said(folder),
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


def _root(folder: Path) -> bytes:
    return (folder / "images" / "metadata" / "1.root.json").read_bytes()


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
