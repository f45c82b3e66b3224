"""Real clients against a real server: what goes over the wire, to whom, and what comes back."""

import asyncio
import threading

import httpx
import pytest
import requests
import urllib3
from hook_world import ANSWER, PROFILE, TOKEN, Device
from walle_deploy.hooks import on_httpx, on_requests, on_urllib3
from walle_deploy.hooks.headers import read_profile

OURS = (b"walle-profile", b"walle-device", b"walle-token")


class Httpx:
    def __init__(self, piggyback):
        self.client = httpx.Client(follow_redirects=True)
        on_httpx.attach(self.client, piggyback)
        on_httpx.attach(self.client, piggyback)

    def get(self, url, headers=None):
        answer = self.client.get(url, headers=headers)
        return answer.status_code, answer.content

    def close(self):
        self.client.close()


class HttpxAsync(Httpx):
    def __init__(self, piggyback):
        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(follow_redirects=True)
        on_httpx.attach(self.client, piggyback)
        on_httpx.attach(self.client, piggyback)

    def get(self, url, headers=None):
        answer = self.loop.run_until_complete(self.client.get(url, headers=headers))
        return answer.status_code, answer.content

    def close(self):
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()


class Requests:
    def __init__(self, piggyback):
        self.client = requests.Session()
        on_requests.attach(self.client, piggyback)
        on_requests.attach(self.client, piggyback)

    def get(self, url, headers=None):
        answer = self.client.get(url, headers=headers, timeout=10)
        return answer.status_code, answer.content

    def close(self):
        self.client.close()


class Urllib3:
    def __init__(self, piggyback):
        self.client = urllib3.PoolManager(headers={"x-app": "1"})
        on_urllib3.attach(self.client, piggyback)

    def get(self, url, headers=None):
        answer = self.client.request("GET", url, headers=headers, timeout=10)
        return answer.status, answer.data

    def close(self):
        self.client.clear()


@pytest.fixture(params=[Httpx, HttpxAsync, Requests, Urllib3])
def connect(request):
    made = []

    def make(device):
        made.append(request.param(device.piggyback))
        return made[-1]

    yield make
    for client in made:
        client.close()


def ours(headers):
    return {name: value for name, value in headers.items() if name in OURS}


def test_quiet_device_costs_one_header_up_and_nothing_down(shop, connect):
    device = Device(shop.url)
    client = connect(device)
    for _ in range(3):
        assert client.get(shop.url) == (200, b"shop")
    assert [ours(seen) for seen in shop.wire] == [{b"walle-profile": PROFILE.header().encode()}] * 3
    assert device.answers() == []


def test_news_takes_two_requests(shop, connect):
    device = Device(shop.url)
    client = connect(device)
    shop.deployment.new[PROFILE.digest] = ANSWER
    client.get(shop.url)
    assert device.answers() == []
    assert device.piggyback.counters.asked == 1
    assert client.get(shop.url) == (200, b"shop")
    assert device.answers() == [ANSWER]
    assert shop.deployment.asked == [(PROFILE.canonical, TOKEN)]
    assert set(ours(shop.wire[1])) == set(OURS)
    assert read_profile(shop.wire[1][b"walle-device"].decode()) == PROFILE.canonical
    assert set(ours(shop.seen[1])) == {b"walle-profile"}  # the application sees neither profile nor token
    client.get(shop.url)
    assert set(ours(shop.wire[2])) == {b"walle-profile"}  # the full profile goes once


def test_nobody_else_sees_anything(shop, stranger, connect):
    device = Device(shop.url)
    client = connect(device)
    client.get(stranger.url)
    stranger.answer_headers = [(b"walle-answer", b"?")]
    client.get(stranger.url)
    assert device.piggyback.counters.asked == 0
    assert not any(ours(seen) for seen in stranger.wire)


@pytest.mark.parametrize("full", [False, True])
def test_redirect_to_a_stranger_carries_nothing(shop, stranger, connect, full):
    device = Device(shop.url)
    client = connect(device)
    if full:
        shop.deployment.new[PROFILE.digest] = ANSWER
        client.get(shop.url)
    shop.redirects["/away"] = f"{stranger.url}/landing"
    stranger.answer_headers = [(b"walle-answer", b"AAAA")]
    assert client.get(f"{shop.url}/away", {"x-mine": "1"}) == (200, b"shop")
    assert ours(shop.wire[-1])
    assert shop.wire[-1][b"x-mine"] == stranger.wire[-1][b"x-mine"] == b"1"
    assert ours(stranger.wire[-1]) == {}
    assert device.answers() == ([ANSWER] if full else [])  # of the hop that was ours, not of the stranger's


def test_redirect_back_carries_the_profile(shop, stranger, connect):
    client = connect(Device(shop.url))
    stranger.redirects["/in"] = f"{shop.url}/landing"
    assert client.get(f"{stranger.url}/in") == (200, b"shop")
    assert ours(stranger.wire[-1]) == {}
    assert ours(shop.wire[-1]) == {b"walle-profile": PROFILE.header().encode()}


def test_other_ports_and_hosts_are_strangers(shop, stranger, connect):
    client = connect(Device(stranger.url))
    client.get(shop.url)
    client.get(f"http://127.0.0.1:{stranger.port}@127.0.0.1:{shop.port}/")  # names the stranger as user only
    client.get(f"http://localhost:{stranger.port}/")
    assert not any(ours(seen) for seen in [*shop.wire, *stranger.wire])


def test_parallel_requests_send_the_profile_once(shop):
    device = Device(shop.url, pause=300.0)  # a busy machine may take longer than usual
    shop.deployment.new[PROFILE.digest] = ANSWER

    def work():
        client = Requests(device.piggyback)
        for _ in range(20):
            assert client.get(shop.url) == (200, b"shop")
        client.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert device.answers() == [ANSWER]
    assert sum(b"walle-device" in seen for seen in shop.wire) == 1
    assert len(shop.wire) == 160
    assert all(b"walle-profile" in seen for seen in shop.wire)


def test_many_parallel_requests_of_one_async_client(shop):
    device = Device(shop.url)
    shop.deployment.new[PROFILE.digest] = ANSWER

    async def main():
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=20)) as client:
            on_httpx.attach(client, device.piggyback)
            for _ in range(3):
                answers = await asyncio.gather(*(client.get(shop.url) for _ in range(50)))
                assert {answer.text for answer in answers} == {"shop"}

    asyncio.run(main())
    assert device.answers() == [ANSWER]
    assert sum(b"walle-device" in seen for seen in shop.wire) == 1


def test_the_applications_own_hooks_and_requests_stay_clean(shop):
    device = Device(shop.url)
    shop.deployment.new[PROFILE.digest] = ANSWER
    seen = []
    hooks = {
        "request": [lambda request: seen.append(dict(request.headers))],
        "response": [lambda response: seen.append(dict(response.request.headers))],
    }
    with httpx.Client(event_hooks=hooks) as client:
        on_httpx.attach(client, device.piggyback)
        request = client.build_request("GET", shop.url)
        for _ in range(2):
            client.send(request)
    assert device.answers() == [ANSWER]
    assert not any("walle-token" in headers or "walle-profile" in headers for headers in seen)
    session = Requests(Device(shop.url).piggyback)
    prepared = session.client.prepare_request(requests.Request("GET", shop.url))
    answer = session.client.send(prepared)
    session.close()
    assert answer.request is prepared
    assert "walle-profile" not in prepared.headers


def test_retries_of_requests_keep_working(shop, connect):
    """A connection that the server closes between two requests is opened again, with the headers once."""
    session = requests.Session()
    session.mount(
        "http://", requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(3, status_forcelist=[200]))
    )
    device = Device(shop.url)
    on_requests.attach(session, device.piggyback)
    with pytest.raises(requests.exceptions.RetryError):
        session.get(shop.url, timeout=10)
    session.close()
    assert len(shop.wire) == 4
    assert all(ours(seen) == {b"walle-profile": PROFILE.header().encode()} for seen in shop.wire)


def test_urllib3_repeats_by_itself(shop):
    device = Device(shop.url)
    client = Urllib3(device.piggyback)
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        client.client.request("GET", shop.url, retries=urllib3.Retry(2, status_forcelist=[200]))
    client.close()
    assert len(shop.wire) == 3
    assert all(ours(seen) == {b"walle-profile": PROFILE.header().encode()} for seen in shop.wire)


def test_a_server_that_is_away_is_the_applications_error_only(connect):
    device = Device("http://127.0.0.1:9")
    client = connect(device)
    with pytest.raises((httpx.ConnectError, requests.ConnectionError, urllib3.exceptions.MaxRetryError)):
        client.get("http://127.0.0.1:9/")


@pytest.mark.parametrize("profile", [None, "no profile", ValueError("the agent is gone")])
def test_a_profile_that_cannot_be_had_costs_the_request_nothing(shop, connect, profile):
    device = Device(shop.url)

    def broken():
        if isinstance(profile, Exception):
            raise profile
        return profile

    device.piggyback._profile = broken
    assert connect(device).get(shop.url) == (200, b"shop")
    assert ours(shop.wire[0]) == {}


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "", "ü", "x" * 200, "a b"])
def test_a_token_cannot_inject_headers(shop, connect, token):
    device = Device(shop.url, token=token)
    client = connect(device)
    shop.deployment.new[PROFILE.digest] = ANSWER
    for _ in range(3):
        assert client.get(shop.url) == (200, b"shop")
    assert all(set(ours(seen)) == {b"walle-profile"} for seen in shop.wire)
    assert not any(b"x-evil" in seen for seen in shop.wire)
    assert device.piggyback.counters.failed


@pytest.mark.parametrize("value", [b"", b"??", b"a", b"AAA=", b"A,A", b"\xff\xfe", b"A" * 5000, b"?\tx"])
def test_a_response_header_that_is_no_answer_is_counted(shop, connect, value):
    device = Device(shop.url)
    client = connect(device)
    shop.answer_headers = [(b"walle-answer", value)]
    assert client.get(shop.url) == (200, b"shop")
    assert device.answers() == []
    assert device.piggyback.counters.malformed == 1
