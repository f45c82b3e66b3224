"""Asks an ASGI application without a server, and talks to a real one byte by byte."""

import asyncio
import contextlib
import socket
import threading
from functools import partial
from urllib.parse import unquote

import msgspec
from walle_deploy.server.asgi import App
from walle_deploy.server.auth import device_token
from walle_deploy.server.services import Services
from walle_deploy.server.testing import Answered, Requests, make_folder, said


class Got:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return msgspec.json.decode(self.body)


async def ask(app, method, path, body=b"", headers=(), query=b"", pieces=None):
    """One request; `pieces` are the parts in which the body comes, or an exception instead of the rest."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query, "scheme": "http",
        "headers": [(b"host", b"test"), *headers], "client": ("10.0.0.1", 1), "server": ("test", 80), "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    parts, sent = list([body] if pieces is None else pieces), []

    async def receive():
        if not parts:
            await asyncio.sleep(3600)
        part = parts.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    return Got(
        sent[0]["status"],
        {name.decode(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(m.get("body", b"") for m in sent[1:]),
    )


@contextlib.contextmanager
def listening(app, **options):
    """uvicorn with our protocol in a thread; yields the port."""
    import uvicorn
    from walle_deploy.server.protocol import Http

    config = uvicorn.Config(
        app, port=0, http=Http, ws="websockets-sansio", log_level="critical", lifespan="off", access_log=False,
        server_header=False, date_header=False, **options,
    )  # fmt: skip
    server, started = uvicorn.Server(config), threading.Event()
    startup = server.startup

    async def told(*args, **kwargs):
        await startup(*args, **kwargs)
        started.set()

    server.startup = told
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)


def talk(port, *parts, wait=None, limit=1 << 20):
    """Sends bytes, and returns all that comes until the other side closes or says nothing for `wait` seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait or 10) as connection:
        got = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for part in parts:
                connection.sendall(part)
            while len(got) < limit and (piece := connection.recv(1 << 16)):
                got += piece
        return got


class World(Requests):
    """A server in this process: the whole application, without sockets."""

    def __init__(self, folder, **options):
        self.settings = make_folder(folder, **options)
        for name, value in said(folder).items():
            setattr(self, name, value)
        settings = msgspec.structs.replace(self.settings, base_url="https://files.example/walle")
        self.app = App(partial(Services.open, settings))
        self.runner = asyncio.Runner()
        try:
            self.runner.run(self.app.start())
        except BaseException:
            self.runner.close()
            raise

    @property
    def services(self):
        return self.app.services

    @property
    def platform(self):
        return self.app.services.platform

    def close(self):
        self.runner.run(self.app.services.stop())
        self.runner.close()

    def call(self, method, path, body=None, *, role="admin", headers=None, expect=None, pieces=None):
        data, sent = self._packed(body, role, headers)
        path, _, query = path.partition("?")
        pairs = [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items()]
        for _ in range(3):
            asked = ask(self.app, method, unquote(path), data or b"", pairs, query.encode(), pieces=pieces)
            made = self.runner.run(asked)
            if made.status != 503 or path == "/healthz":
                break
            self.platform.refresh()  # other work on the machine kept it from looking at the database
        return Answered(made.status, made.headers, made.body).checked(method, path, expect)

    def check(self, profile, token=None, **headers):
        """What ``POST /walle/check`` answers."""
        token = device_token(self.services.secret, profile.id) if token is None else token
        sent = {"authorization": f"Bearer {token}", **headers}
        return self.call("POST", "/walle/check", profile.canonical, role=None, headers=sent)

    def report(self, device, *reports, token=None):
        """What ``POST /walle/reports`` answers."""
        token = device_token(self.services.secret, device) if token is None else token
        sent = {"authorization": f"Bearer {token}", "walle-id": device}
        return self.call(
            "POST", "/walle/reports", msgspec.msgpack.encode(list(reports)), role=None, headers=sent
        )

    def settle(self):
        """Until this worker offers what is in the database."""
        self.platform.refresh()
