"""The middleware in front of applications of all kinds, with checks of all kinds."""

import asyncio
import socket
import threading
import time
from concurrent.futures import Future

import pytest
from hook_world import ANSWER, PROFILE, TOKEN, Deployment, Shop, served
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.errors import HookError
from walle_deploy.hooks import checking
from walle_deploy.hooks.headers import read_answer, write_profile
from walle_deploy.hooks.local import LocalCheck
from walle_deploy.hooks.middleware import WalleMiddleware
from walle_deploy.server.refusals import BusyError

DIGEST = (b"walle-profile", PROFILE.header().encode())
FULL = [DIGEST, (b"walle-device", write_profile(PROFILE).encode()), (b"walle-token", TOKEN.encode())]


async def asked(app, headers, path="/"):
    """The messages of the response."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"shop"), *headers]}
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope, receive, send)
    return sent


def answer_of(sent):
    found = [value for name, value in sent[0]["headers"] if name == b"walle-answer"]
    assert len(found) <= 1
    return found[0] if found else None


def run(app, *requests, **options):
    """The values of the header in the responses, one request after another."""

    async def main():
        return [answer_of(await asked(app, headers, **options)) for headers in requests]

    return asyncio.run(main())


@pytest.mark.parametrize("remembers", [True, False])
def test_quiet_ask_answer(remembers):
    shop, check = Shop(), Deployment(remembers)
    app = WalleMiddleware(shop, check)
    assert run(app, [], [DIGEST], FULL) == [None] * 3
    check.new[PROFILE.digest] = ANSWER
    nothing, ask, answer = run(app, [], [DIGEST], FULL)
    assert (nothing, ask) == (None, b"?")
    assert read_answer(answer.decode()) == ANSWER
    assert app.counters.answers == 1
    assert app.counters.asked == 1
    assert shop.seen[-1] == {b"host": b"shop", DIGEST[0]: DIGEST[1]}


def test_a_large_answer_is_to_be_pulled():
    check = Deployment()
    check.new[PROFILE.digest] = bytes(5000)
    assert run(WalleMiddleware(Shop(), check), FULL) == [b"!"]


@pytest.mark.parametrize(
    "headers",
    [
        [DIGEST, DIGEST],
        [(b"walle-profile", b"")],
        [(b"walle-profile", b"x" * 12)],
        [(b"walle-profile", b"\xff" * 11)],
        [DIGEST, (b"walle-device", b"A" * 5000), FULL[2]],
        [DIGEST, (b"walle-device", b"1.AAAA"), FULL[2]],
        [DIGEST, FULL[1]],
        [DIGEST, FULL[1], (b"walle-token", b"a b")],
        [*FULL, FULL[2]],
    ],
)
def test_headers_that_are_none_are_counted_and_nothing_else(headers):
    shop, check = Shop(), Deployment()
    check.new[PROFILE.digest] = ANSWER
    app = WalleMiddleware(shop, check)
    sent = asyncio.run(asked(app, headers))
    assert answer_of(sent) is None
    assert sent[-1]["body"] == b"shop"
    assert app.counters.malformed == 1
    assert check.asked == []
    assert not {b"walle-device", b"walle-token"} & set(shop.seen[0])


def test_a_wrong_token_is_the_devices_fault():
    app = WalleMiddleware(Shop(), check := Deployment())
    check.new[PROFILE.digest] = ANSWER
    assert run(app, *[[DIGEST, FULL[1], (b"walle-token", b"wrong")]] * 10) == [None] * 10
    assert app.counters.malformed == 10
    assert run(app, FULL) != [None]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"walle-profile", b"walle-device", b"walle-token", b"x"]), st.binary(max_size=40)
        ),
        max_size=5,
    )
)
def test_any_headers_leave_the_response_as_it_is(headers):
    shop, check = Shop(), Deployment()
    sent = asyncio.run(asked(WalleMiddleware(shop, check), headers))
    bare = asyncio.run(asked(Shop(), headers))
    assert sent == bare


class Slow(Deployment):
    """Waits until it is told."""

    def __init__(self):
        super().__init__(remembers=False)
        self.go, self.cancelled = asyncio.Event(), 0

    async def _wait(self):
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def digest(self, digest):
        await self._wait()
        return await super().digest(digest)

    async def full(self, profile, token):
        await self._wait()
        return await super().full(profile, token)


def test_a_slow_check_does_not_hold_the_response_up():
    async def main():
        check = Slow()
        check.new[PROFILE.digest] = ANSWER
        app = WalleMiddleware(Shop(), check, deadline=0.05)
        start = time.monotonic()
        assert answer_of(await asked(app, [DIGEST])) is None
        assert 0.04 < time.monotonic() - start < 0.5
        await asyncio.sleep(0)
        assert check.cancelled == 1
        assert app.counters.late == 1
        # a late answer waits for the device's next request
        assert answer_of(await asked(app, FULL)) is None
        check.go.set()
        await asyncio.gather(*app._checker._running)
        await asyncio.sleep(0)
        found = answer_of(await asked(app, [DIGEST]))
        assert read_answer(found.decode()) == ANSWER
        assert answer_of(await asked(app, [DIGEST])) == b"?"
        return check

    asyncio.run(main())


def test_after_some_failures_nothing_is_asked_for_a_while():
    class Broken(Deployment):
        calls = 0

        async def digest(self, digest):
            self.calls += 1
            raise ConnectionError("away")

    async def main():
        check, now = Broken(remembers=False), [100.0]
        app = WalleMiddleware(Shop(), check)
        app._checker._clock = lambda: now[0]
        for _ in range(20):
            assert answer_of(await asked(app, [DIGEST])) is None
        assert check.calls == checking.STRIKES
        assert app.counters.skipped == 15
        now[0] += checking.REST_S
        await asked(app, [DIGEST])
        assert check.calls == checking.STRIKES + 1

    asyncio.run(main())


def test_a_check_that_raises_from_memory_is_a_failure_only():
    class Broken(Deployment):
        def quiet(self, digest):
            raise RuntimeError

    app = WalleMiddleware(Shop(), Broken())
    assert run(app, [DIGEST]) == [None]
    assert app.counters.failed == 1


def test_not_more_checks_at_once_than_allowed():
    async def main():
        app = WalleMiddleware(Shop(), check := Slow(), deadline=5.0)
        tasks = [asyncio.create_task(asked(app, [DIGEST])) for _ in range(checking.RUNNING + 10)]
        for task in asyncio.as_completed(tasks[-10:]):
            await task
        assert app.counters.skipped == 10
        check.go.set()
        await asyncio.gather(*tasks)
        assert app.counters.quiet == checking.RUNNING

    asyncio.run(main())


def test_the_application_failing_or_going_away_ends_the_check():
    async def main():
        async def broken(scope, receive, send):
            await asyncio.sleep(0)
            raise ValueError("the shop's own")

        check = Slow()
        app = WalleMiddleware(broken, check)
        with pytest.raises(ValueError, match="own"):
            await asked(app, [DIGEST])
        await asyncio.sleep(0)
        assert check.cancelled == 1
        task = asyncio.create_task(asked(WalleMiddleware(Shop(), check, deadline=10), [DIGEST]))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert check.cancelled == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("control", "shared"),
    [(b"public, max-age=60", True), (b"S-MaxAge=5", True), (b"private", False), (b"no-store", False)],
)
def test_nothing_is_added_to_what_shared_caches_keep(control, shared):
    shop, check = Shop(), Deployment()
    shop.answer_headers = [(b"Cache-Control", control)]
    check.new[PROFILE.digest] = ANSWER
    app = WalleMiddleware(shop, check)
    assert run(app, [DIGEST]) == [None if shared else b"?"]
    assert app.counters.shared == shared


def test_the_applications_own_header_of_that_name_gives_way():
    shop, check = Shop(), Deployment()
    shop.answer_headers = [(b"Walle-Answer", b"mine")]
    check.new[PROFILE.digest] = ANSWER
    assert run(WalleMiddleware(shop, check), [DIGEST]) == [b"?"]


def test_streams_go_through_piece_by_piece():
    check = Deployment()
    check.new[PROFILE.digest] = ANSWER
    sent = asyncio.run(asked(WalleMiddleware(Shop(), check), [DIGEST], path="/stream"))
    assert answer_of(sent) == b"?"
    assert [m["body"] for m in sent[1:]] == [b"0", b"1", b"2", b"3", b"4", b"shop"]


def test_websockets_and_lifespan_pass_untouched():
    seen = []

    async def app(*arguments):
        seen.append(arguments)

    class Closing(Deployment):
        closed = False

        async def close(self):
            self.closed = True

    async def main():
        check = Closing()
        middleware = WalleMiddleware(app, check)
        given = ({"type": "websocket", "headers": [*FULL]}, object(), object())
        await middleware(*given)
        assert all(a is b for a, b in zip(given, seen[0], strict=True))
        assert given[0]["headers"] == FULL
        await middleware({"type": "lifespan"}, None, None)
        assert check.closed

    asyncio.run(main())


def test_a_websocket_upgrade_over_the_network():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})
        await send({"type": "websocket.close"})

    check = Deployment()
    check.new[PROFILE.digest] = ANSWER
    with (
        served(WalleMiddleware(app, check), lifespan="off") as port,
        socket.create_connection(("127.0.0.1", port), 10) as end,
    ):
        end.sendall(
            b"GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nWalle-Profile: " + DIGEST[1] + b"\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += end.recv(4096)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"alle-answer" not in head.lower()
        end.sendall(b"\x81\x82\0\0\0\0hi")
        assert end.recv(4)[2:] == b"HI"


def test_close_gives_up_what_is_running():
    async def main():
        check = Slow()
        app = WalleMiddleware(Shop(), check, deadline=0.01)
        await asked(app, FULL)
        await app._checker.close()
        assert check.cancelled == 1
        assert not app._checker._kept

    asyncio.run(main())


class Platform:
    """Holds what `Platform` of the server promises."""

    def __init__(self, later=False):
        self.profiles, self.later, self.busy = [], later, False

    def check_digest(self, digest):
        if self.busy:
            raise BusyError("stale")
        return digest != PROFILE.digest

    def begin_check(self, profile):
        self.profiles.append(profile)
        if not self.later:
            return ANSWER
        made = Future()
        threading.Timer(0.01, made.set_result, [ANSWER]).start()
        return made


@pytest.mark.parametrize("later", [False, True])
def test_local_check(later):
    platform = Platform(later)
    check = LocalCheck(platform, lambda device, token: (device, token) == (PROFILE.id, TOKEN))
    app = WalleMiddleware(Shop(), check, deadline=5.0)
    quiet = [(b"walle-profile", b"AAAAAAAAAAA")]
    wrong = [*FULL[:2], (b"walle-token", b"wrong")]
    nothing, ask, refused, answer = run(app, quiet, [DIGEST], wrong, FULL)
    assert (nothing, ask, refused) == (None, b"?", None)
    assert read_answer(answer.decode()) == ANSWER
    assert platform.profiles == [PROFILE]
    assert asyncio.run(check.digest(PROFILE.digest)) is False
    with pytest.raises(HookError):
        asyncio.run(check.full(b"no profile", TOKEN))
    platform.busy = True
    assert run(app, [DIGEST]) == [None]
    assert app.counters.failed == 0
