"""What a client can stretch has an end: heads, bodies, waiting, and answers that are not read."""

import contextlib
import socket
import time

import pytest
from http_world import listening, talk
from walle_deploy.server import protocol
from walle_deploy.server.answers import read_body, refuse, reply

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
MEGABYTE = b"x" * (1 << 20)


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": MEGABYTE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/nothing":
        await reply(send, 204)
        return
    try:
        body = await read_body(scope, receive, 1000)
    except ConnectionError:
        return
    except Exception as error:
        await refuse(scope, send, error)
        return
    await reply(send, 200, b"%d" % len(body))


@pytest.fixture(scope="module")
def port():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "HEAD_S", 0.3)
        patch.setattr(protocol, "BODY_S", 0.3)
        patch.setattr(protocol, "STUCK_S", 0.3)
        patch.setattr(protocol, "SWEEP_S", 0.05)
        with listening(app, timeout_keep_alive=1) as port:
            yield port


def test_nothing_new_costs_nothing_but_the_status_line(port):
    got = talk(port, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", wait=0.2)
    assert got == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_requests_in_one_packet_are_all_answered(port):
    one = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    assert talk(port, one * 50, wait=0.3).count(b"204") == 50


def test_requests_in_one_packet_are_answered_in_their_order(port):
    quiet = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    several = b"".join(
        HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size + quiet for size in range(20)
    )
    got = talk(port, several, wait=0.3)
    answers = got.split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"200", b"204"] * 20
    assert [each.rpartition(b"\r\n\r\n")[2] for each in answers[::2]] == [b"%d" % size for size in range(20)]


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"A: " + b"x" * 40_000 + b"\r\n\r\n",
        HEAD + b"".join(b"A%d: b\r\n" % n for n in range(200)) + b"\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"A: " + b"x" * 300_000,  # never ends
    ],
    ids=["header", "headers", "line", "endless"],
)
def test_a_head_that_is_too_large_is_refused(port, head):
    got = talk(port, head)
    assert got.startswith(b"HTTP/1.1 431 ")
    assert b'"fix":' in got


def test_a_head_below_the_limit_is_taken(port):
    got = talk(port, HEAD + b"A: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nab", wait=0.5)
    assert got.endswith(b"\r\n\r\n2")


@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100,
     b"GET http://[::1 HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ids=["tls", "words", "version", "zeros", "url", "lengths"],
)  # fmt: skip
def test_what_is_no_request_is_answered_as_json(port, noise):
    got = talk(port, noise)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":' in got


def test_a_connection_on_which_nothing_comes_is_closed_without_an_answer(port):
    begun = time.monotonic()
    assert talk(port, b"") == b""
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("start", [b"GET /x HTT", HEAD + b"A: b\r\n"], ids=["line", "header"])
def test_a_head_that_does_not_come_ends_the_connection(port, start):
    begun = time.monotonic()
    got = talk(port, start)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun < 5


def test_a_head_that_drips_ends_the_connection(port):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.02) as connection:
        with pytest.raises(ConnectionError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    if connection.recv(1000) == b"":
                        raise ConnectionResetError
        assert time.monotonic() - begun < 5


def test_a_body_that_does_not_come_ends_the_connection(port):
    begun = time.monotonic()
    assert talk(port, HEAD + b"Content-Length: 500\r\n\r\nhello") == b""
    assert time.monotonic() - begun < 5


def test_a_body_that_comes_steadily_is_taken(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(HEAD + b"Content-Length: 900\r\n\r\n")
        for _ in range(9):
            connection.sendall(b"x" * 100)
            time.sleep(0.02)
        assert connection.recv(1000).endswith(b"\r\n\r\n900")


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"x" * 500 + b"\r\n" + b"1f5\r\n" + b"x" * 501 + b"\r\n0\r\n\r\n"],
    ids=["said", "chunked"],
)  # fmt: skip
def test_a_body_that_is_too_large_is_refused(port, body):
    got = talk(port, HEAD + body, wait=1)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in got


def test_an_answer_that_is_not_read_ends_the_connection(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.8)
        got = 0
        try:
            while piece := connection.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
        assert got < 64 << 20


def test_an_idle_connection_is_kept_for_a_while_and_then_ended(port):
    one = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(one)
        assert b"204" in connection.recv(1000)
        time.sleep(0.6)
        connection.sendall(one)
        assert b"204" in connection.recv(1000)
        assert connection.recv(1000) == b""


def test_many_clients_that_only_wait_do_not_keep_others_out(port):
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(200)]
    try:
        assert talk(port, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", wait=0.3).startswith(b"HTTP/1.1 204")
    finally:
        for connection in waiting:
            connection.close()


def test_a_websocket_is_not_taken_for_a_request_that_does_not_come(port):
    pytest.importorskip("websockets")
    from websockets.sync.client import connect

    before = set(protocol.Http._open)
    with connect(f"ws://127.0.0.1:{port}/") as socket:
        time.sleep(0.8)
        socket.send("still here")
        assert socket.recv() == "still here"
    assert not protocol.Http._open - before


def test_nothing_is_said_in_the_middle_of_another_answer(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(
            b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nA: " + b"x" * 40_000
        )
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                got += piece
    assert got.count(b"HTTP/1.1") <= 1
