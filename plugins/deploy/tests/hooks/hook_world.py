"""A device, a business server that shows what it was sent, and a deployment that knows what is new."""

import asyncio
import contextlib
import socket
import threading
from hashlib import blake2b

import uvicorn
from walle_deploy.errors import HookError
from walle_deploy.hooks import Piggyback
from walle_deploy.profile import Profile

PROFILE = Profile(
    "device-1", {"os": "linux", "memory_mb": 4096}, {"country": "DE"}, {"ocr": "v3", "rank": "v12"}
)
TOKEN = "t" * 22
ANSWER = b"\x01" + bytes(range(200))


@contextlib.contextmanager
def served(app, **options):
    """The port on which uvicorn serves `app`, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            ready.set()

    config = uvicorn.Config(app, log_level="error", access_log=False, **options)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert ready.wait(10)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


class Deployment:
    """A check whose answers the test chooses. `new`: digest -> answer; any other digest is quiet."""

    def __init__(self, remembers=True):
        self.new, self.asked, self.remembers = {}, [], remembers

    def quiet(self, digest):
        return (digest not in self.new) if self.remembers else None

    async def digest(self, digest):
        self.asked.append(digest)
        return digest not in self.new

    async def full(self, profile, token):
        self.asked.append((profile, token))
        if token != TOKEN:
            raise HookError("another token")
        return self.new.get(blake2b(profile, digest_size=8).digest())


class Shop:
    """A business application: keeps the headers that it sees; `wire` has those that came over the network."""

    def __init__(self, deployment=None):
        self.deployment, self.port = deployment, 0
        self.answer_headers, self.redirects = [], {}
        self.reset()

    def reset(self):
        """Nothing was ever asked."""
        self.seen, self.wire, self.answer_headers, self.redirects = [], [], [], {}
        if self.deployment is not None:
            self.deployment.new, self.deployment.asked = {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def served(self, app):
        async def watched(scope, receive, send):
            if scope["type"] == "http":
                self.wire.append(dict(scope["headers"]))
            await app(scope, receive, send)

        with served(watched) as self.port:
            yield

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.seen.append(dict(scope["headers"]))
        headers = [(b"content-type", b"text/plain"), *self.answer_headers]
        status, path = 200, scope["path"]
        if path in self.redirects:
            status = 302
            headers.append((b"location", self.redirects[path].encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if path == "/stream":
            for number in range(5):
                await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"shop"})


async def lifespan(receive, send):
    """An application without anything to begin or end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


class Device:
    """A piggyback whose answers can be waited for."""

    def __init__(self, *origins, profile=PROFILE, token=TOKEN, **options):
        self.profile, self.taken = profile, []
        self.piggyback = Piggyback(
            lambda: self.profile, self.taken.append, token=token, origins=origins, **options
        )

    def answers(self):
        """All answers up to now."""
        assert self.piggyback.courier.join(10)
        return self.taken
