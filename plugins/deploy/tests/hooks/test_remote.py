"""The check through a deployment server that speaks the wire protocol, or does not."""

import asyncio
import socket

import pytest
from hook_world import ANSWER, PROFILE, TOKEN, Deployment, Device, Shop, lifespan, served
from walle_deploy.errors import HookError
from walle_deploy.hooks import on_httpx
from walle_deploy.hooks.headers import read_digest
from walle_deploy.hooks.middleware import WalleMiddleware
from walle_deploy.hooks.remote import RemoteCheck


class Server:
    """A deployment server: the wire protocol of devices on top of a `Deployment`. `status` overrides what it says."""

    def __init__(self):
        self.deployment, self.port = Deployment(), 0
        self.status, self.headers, self.body, self.ports = 0, [], b"", []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.ports.append(scope["client"][1])
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        status, answer = await self._said(dict(scope["headers"]), scope, body)
        headers = [(b"content-length", b"%d" % len(answer)), *self.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _said(self, headers, scope, body):
        assert scope["path"] == "/walle/check"
        if self.status:
            return self.status, self.body
        if scope["method"] == "GET":
            quiet = await self.deployment.digest(read_digest(headers[b"walle-profile"].decode()))
            return (204 if quiet else 428), b""
        try:
            found = await self.deployment.full(
                body, headers[b"authorization"].decode().removeprefix("Bearer ")
            )
        except HookError:
            return 401, b"another token"
        return (204, b"") if found is None else (200, found)


@pytest.fixture
def server():
    made = Server()
    with served(made) as made.port:
        yield made


def run(server, work, **options):
    async def main():
        check = RemoteCheck(server.url, **options)
        try:
            return await work(check)
        finally:
            await check.close()

    return asyncio.run(main())


def test_asks_the_server_and_remembers_what_is_quiet(server):
    async def work(check):
        now = [0.0]
        check._clock = lambda: now[0]
        assert check.quiet(PROFILE.digest) is None
        assert await check.digest(PROFILE.digest)
        assert check.quiet(PROFILE.digest)
        now[0] = 3.5
        assert check.quiet(PROFILE.digest) is None
        assert await check.full(PROFILE.canonical, TOKEN) is None
        assert check.quiet(PROFILE.digest)
        server.deployment.new[PROFILE.digest] = ANSWER
        assert not await check.digest(PROFILE.digest)
        assert await check.full(PROFILE.canonical, TOKEN) == ANSWER
        with pytest.raises(HookError, match="401"):
            await check.full(PROFILE.canonical, "wrong")
        assert check.quiet(b"another.") is None  # the wrong token was one device's fault
        await asyncio.gather(*(check.digest(bytes([n] * 8)) for n in range(20)))

    run(server, work, connections=4)
    assert len(set(server.ports)) <= 4
    assert len(server.ports) == 25


def test_what_is_remembered_is_bounded(server, monkeypatch):
    monkeypatch.setattr("walle_deploy.hooks.remote.MAX_QUIET", 3)

    async def work(check):
        for n in range(6):
            check._found_quiet(bytes([n] * 8))
        return [check.quiet(bytes([n] * 8)) for n in range(6)]

    assert run(server, work) == [None] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("status", "after", "rest"),
    [(503, b"7", 7), (503, None, 1), (502, b"soon", 1), (500, b"99999", 30), (302, None, 1)],
)
def test_a_server_that_is_busy_is_left_alone(server, status, after, rest):
    server.status, server.headers = status, [(b"location", b"/elsewhere")]
    if after:
        server.headers.append((b"retry-after", after))

    async def work(check):
        now = [0.0]
        check._clock = lambda: now[0]
        for _ in range(2):
            with pytest.raises(ConnectionError, match=str(status)):
                await check.digest(PROFILE.digest)
        assert check.quiet(PROFILE.digest)
        now[0] = rest - 0.1
        assert check.quiet(PROFILE.digest)
        now[0] = rest + 0.1
        assert check.quiet(PROFILE.digest) is None
        with pytest.raises(ConnectionError):
            await check.digest(PROFILE.digest)
        now[0] += min(max(rest, 2 * rest), 30) - 0.2
        assert check.quiet(PROFILE.digest)

    run(server, work)
    assert set(server.ports) and len(server.ports) == 3


def test_an_answer_without_end_is_cut(server):
    server.status, server.body = 200, bytes(1 << 20)

    async def work(check):
        with pytest.raises(ConnectionError, match="16384"):
            await check.full(PROFILE.canonical, TOKEN)

    run(server, work)


def test_a_server_that_is_away_or_silent():
    async def work(check):
        with pytest.raises(ConnectionError):
            await check.digest(PROFILE.digest)
        assert check.quiet(PROFILE.digest)

    away = Server()
    away.port = 9
    run(away, work)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away.port = silent.getsockname()[1]
        run(away, work, timeout=0.1)


def test_from_a_device_through_both_servers_and_back(server):
    import httpx

    shop, device = Shop(), None
    app = WalleMiddleware(shop, RemoteCheck(server.url), deadline=2.0)
    with shop.served(app):
        device = Device(shop.url)
        with httpx.Client() as client:
            on_httpx.attach(client, device.piggyback)
            for _ in range(3):
                assert client.get(shop.url).text == "shop"
            assert len(server.ports) == 1
            server.deployment.new[PROFILE.digest] = ANSWER
            app._checker.check._quiet.clear()
            for _ in range(3):
                assert client.get(shop.url).text == "shop"
    assert device.answers() == [ANSWER]
    assert app._checker.check._connections._free == []  # closed with the application


def test_the_business_goes_on_without_the_deployment_server():
    import httpx

    shop = Shop()
    app = WalleMiddleware(shop, RemoteCheck("http://127.0.0.1:9"))
    with shop.served(app), httpx.Client() as client:
        device = Device(shop.url)
        on_httpx.attach(client, device.piggyback)
        for _ in range(20):
            assert client.get(shop.url).text == "shop"
    assert app.counters.failed == 1
    assert app.counters.quiet == 19
