"""The pool of connections against servers that answer byte by byte what the test says."""

import asyncio
import contextlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.errors import HookError
from walle_deploy.hooks.connections import Connections

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Scripted:
    """Answers the requests of each connection by the next replies of its script, then closes it."""

    def __init__(self, *scripts):
        self.scripts, self.requests, self.connections = list(scripts), [], 0
        self.tasks, self.asked = [], asyncio.Event()

    async def serve(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        self.connections += 1
        try:
            for reply in self.scripts.pop(0) if self.scripts else [OK] * 100:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self.asked.set()
                for part in [reply] if isinstance(reply, bytes) else reply:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def run(work, *scripts, **options):
    """The result of `work` with a pool of connections to a server with these scripts."""

    async def main():
        scripted = Scripted(*scripts)
        server = await asyncio.start_server(
            scripted.serve, "127.0.0.1", 0, ssl=options.pop("server_tls", None)
        )
        port = server.sockets[0].getsockname()[1]
        scheme, host = options.pop("scheme", "http"), options.pop("host", "127.0.0.1")
        pool = Connections(f"{scheme}://{host}:{port}/base/", **{"most": 2, "timeout": 5.0, **options})
        try:
            return await work(pool, scripted)
        finally:
            await pool.close()
            server.close()
            await asyncio.gather(*scripted.tasks, return_exceptions=True)

    return asyncio.run(main())


def ask(pool, **headers):
    return pool.ask("GET", "/walle/check", headers, b"", 100)


def test_connections_are_kept_and_not_more_than_allowed():
    async def work(pool, server):
        for _ in range(5):
            assert (await ask(pool, Name="x")).body == b"hi"
        assert server.connections == 1
        await asyncio.gather(*(ask(pool) for _ in range(20)))
        assert server.connections == 2
        request = server.requests[0].decode()
        assert request.startswith("GET /base/walle/check HTTP/1.1\r\nHost: 127.0.0.1:")
        assert request.endswith("Name: x\r\nContent-Length: 0\r\n\r\n")

    run(work)


def test_a_connection_that_was_closed_meanwhile_is_replaced():
    async def work(pool, server):
        for _ in range(6):
            assert (await ask(pool)).body == b"hi"
            await asyncio.sleep(0.001)
        return server.connections

    assert run(work, [OK], [OK], [OK, OK]) == 4


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 428\r\ncontent-length:0\r\n\r\n", 428, b""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
        ([OK[n : n + 1] for n in range(len(OK))], 200, b"hi"),
        (CHUNKED + b"2\r\nhi\r\n3;x=y\r\nyou\r\n0\r\nTrailer: z\r\n\r\n", 200, b"hiyou"),
    ],
)
def test_replies(reply, status, body):
    async def work(pool, server):
        first = await ask(pool)
        assert (await ask(pool)).body == b"hi"
        return first.status, first.body

    assert run(work, [reply, OK]) == (status, body)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0 hello\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno end",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + bytes(101),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        CHUNKED + b"ffffffff\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"2\r\nhi",
    ],
)
def test_replies_that_are_none(reply):
    async def work(pool, server):
        with pytest.raises(ConnectionError):
            await ask(pool)
        assert (await ask(pool)).body == b"hi"
        assert pool._free
        return server.connections

    assert run(work, [reply]) == 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_an_error(data):
    async def work(pool, server):
        for _ in range(2):
            with contextlib.suppress(OSError):
                await ask(pool)

    run(work, [data], [b"HTTP/1.1 200 OK\r\n" + data])


def test_silence_ends_after_the_time():
    async def work(pool, server):
        with pytest.raises(TimeoutError):
            await ask(pool)
        assert pool._free == []

    run(work, [b"HTTP/1.1 200 OK\r\n", b"never"], timeout=0.05)


def test_cancelling_closes_the_connection():
    async def work(pool, server):
        task = asyncio.create_task(ask(pool))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await ask(pool)).body == b"hi"

    run(work, [b"HTTP/1.1 200 OK\r\n", b"never"])


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nX: y", "ü"])
def test_headers_cannot_be_injected(value):
    async def work(pool, server):
        with pytest.raises(HookError):
            await ask(pool, Name=value)
        assert server.requests == []

    run(work)


@pytest.mark.parametrize(
    "url", ["deploy.example", "ftp://deploy.example", "https://", "http://a:b", "http://ü", "http://a b"]
)
def test_a_url_that_is_none(url):
    with pytest.raises(HookError):
        Connections(url, 1, 1.0)


def test_another_loop_begins_anew():
    pool = Connections("http://127.0.0.1:9", 1, 1.0)

    async def main():
        scripted = Scripted()
        server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
        pool._port = server.sockets[0].getsockname()[1]
        assert (await ask(pool)).status == 200
        for _, writer in pool._free:  # they stay in the pool
            writer.close()
        await asyncio.gather(*scripted.tasks)
        server.close()

    asyncio.run(main())
    asyncio.run(main())


def test_tls(tmp_path):
    pytest.importorskip("walle_pipeline")
    from walle_pipeline.testing.certificate import make_certificate

    files = make_certificate(tmp_path)
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(*files)
    trust = ssl.create_default_context(cafile=str(files[0]))

    async def work(pool, server):
        return (await ask(pool)).body

    options = {"server_tls": server_tls, "scheme": "https"}
    assert run(work, tls=trust, **options) == b"hi"
    with pytest.raises(ssl.SSLError):
        run(work, **options)
