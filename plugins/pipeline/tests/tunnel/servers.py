"""Servers from Debian's packages, started for tests on loopback: NATS, PostgreSQL, Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

START = 20.0  # seconds that a server has to start


def binary(package: str, name: str, *folders: str) -> str:
    """The path of a server's binary. Skips, or fails with WALLE_REQUIRE_DEVICES=1, where it is missing."""
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        missing(f"{name} is not installed (Debian package {package})")
    return found


def missing(why: str) -> None:
    if os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
        pytest.fail(why)
    pytest.skip(why)


def library(name: str):
    """An imported library; skips as `binary` where it is missing."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"{name} is not installed")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Server:
    """A process that listens on a port or a Unix socket."""

    def __init__(self, command: list[str], address, log: Path, **options) -> None:
        self.command, self.address, self.log, self.options = command, address, log, options
        self.process: subprocess.Popen | None = None
        self.ready: list[str] | None = None  # a command that succeeds as soon as the server takes requests

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, **self.options)
        until = time.monotonic() + START
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError(f"{self.command[0]} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def answers(self) -> bool:
        if self.ready is not None:
            return subprocess.run(self.ready, capture_output=True, check=False).returncode == 0
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family) as probe:
            return probe.connect_ex(self.address) == 0

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@contextlib.contextmanager
def nats_cluster(folder: Path, nodes: int = 3):
    """`nodes` servers with JetStream in files, as one cluster; a list of `Server`, with `.url`."""
    path = binary("nats-server", "nats-server")
    ports = free_ports(2 * nodes)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[nodes:])
    servers = []
    for i in range(nodes):
        config = folder / f"n{i}.conf"
        cluster = f'cluster {{ name: walle, listen: "127.0.0.1:{ports[nodes + i]}", routes: [{routes}] }}'
        config.write_text(
            f'server_name: n{i}\nlisten: "127.0.0.1:{ports[i]}"\nmax_payload: 2MB\n'
            f'jetstream {{ store_dir: "{folder}/n{i}", max_file_store: 256MB }}\n{cluster if nodes > 1 else ""}\n'
        )
        server = Server([path, "-c", str(config)], ("127.0.0.1", ports[i]), folder / f"n{i}.log")
        server.url = f"nats://127.0.0.1:{ports[i]}"
        servers.append(server)
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop(signal.SIGKILL)


@contextlib.contextmanager
def postgres():
    """A `Server` with `.conninfo`, on a Unix socket only."""
    folders = sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
    path, initdb = binary("postgresql-15", "postgres", *folders), binary("postgresql-15", "initdb", *folders)
    folder = Path(tempfile.mkdtemp(prefix="walle-pg-"))
    options = {}
    try:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            options = {"user": "postgres" if "postgres" in names else "nobody"}
            os.chown(folder, pwd.getpwnam(options["user"]).pw_uid, -1)
        command = [
            initdb,
            "-D",
            f"{folder}/data",
            "-U",
            "walle",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **options)
        settings = [
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={folder}",
            "-c",
            "shared_buffers=16MB",
        ]
        server = Server(
            [path, "-D", f"{folder}/data", *settings],
            f"{folder}/.s.PGSQL.5432",
            folder / "log",
            cwd=folder,
            **options,
        )
        server.ready = [str(Path(path).resolve().parent / "pg_isready"), "-q", "-h", str(folder)]
        server.conninfo = f"host={folder} user=walle dbname=postgres"
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def mosquitto(folder: Path, devices: dict[str, str], limits: str = ""):
    """A broker with a password and an access list for each device and the user ``server``; a `Server` with `.url`."""
    path, passwd = binary("mosquitto", "mosquitto"), binary("mosquitto", "mosquitto_passwd")
    from walle_pipeline.tunnel.mqtt import ACCESS

    (port,) = free_ports(1)
    folder.mkdir(exist_ok=True)
    (folder / "acl").write_text(ACCESS)
    passwords = folder / "passwords"
    passwords.write_text(
        "".join(f"{name}:{word}\n" for name, word in {**devices, "server": "secret"}.items())
    )
    subprocess.run([passwd, "-U", str(passwords)], check=True, capture_output=True)
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\n{user}allow_anonymous false\npassword_file {passwords}\nacl_file {folder}/acl\n"
        f"persistence false\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type error\n{limits}\n"
    )
    server = Server([path, "-c", str(folder / "conf")], ("127.0.0.1", port), folder / "log")
    server.url = f"mqtt://127.0.0.1:{port}"
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def listening(listener, work):
    """Runs `work`, a coroutine that uses `listener`, once the listener listens and until the end of the block."""
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(10):
            waiting = asyncio.create_task(listener.listening.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if task.done():
            await task
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
