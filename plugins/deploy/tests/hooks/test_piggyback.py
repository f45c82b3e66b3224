"""The device's logic without any client."""

import os
import threading

import pytest
from hook_world import ANSWER, PROFILE, TOKEN, Device
from hypothesis import given
from hypothesis import strategies as st
from walle_deploy.errors import HookError
from walle_deploy.hooks.courier import Courier
from walle_deploy.hooks.headers import write_answer
from walle_deploy.hooks.origins import allowed, origin_of
from walle_deploy.profile import Profile

URL = "https://api.shop.example"
ORIGIN = ("https", "api.shop.example", None)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def names(pairs):
    return [name for name, _ in pairs]


def test_origins_are_exact():
    table = allowed([URL, "http://localhost:8080", "https://[::1]:8443", "https://bücher.example"])
    for url in (
        URL,
        f"{URL}:443/a?b#c",
        "https://API.shop.example/",
        "http://localhost:8080/x",
        "https://[::1]:8443/",
    ):
        assert origin_of(url) in table, url
    assert origin_of("https://xn--bcher-kva.example/") in table
    for url in (
        "http://api.shop.example/",
        f"{URL}:444/",
        "https://www.api.shop.example/",
        "https://shop.example/",
        "https://api.shop.example.evil.example/",
        "https://api.shop.example@evil.example/",
        "https://api.shop.example./",
        "http://localhost/",
        "//api.shop.example/",
        "",
        "https://api.shop.example:port/",
        "https://[::1/",
    ):
        assert origin_of(url) not in table, url


@pytest.mark.parametrize(
    "bad",
    [
        "api.shop.example",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "https://*.a",
        "https://a:x",
        "https://[",
        "",
    ],
)
def test_an_origin_that_is_none_is_refused(bad):
    with pytest.raises(HookError, match="https://host"):
        allowed([bad])


def test_clear_text_is_refused_unless_it_is_wanted_or_stays_here():
    with pytest.raises(HookError, match="in the clear"):
        allowed(["http://api.shop.example"])
    assert allowed(["http://api.shop.example"], clear=True)
    assert allowed(["http://127.0.0.1:80", "http://[::1]", "http://localhost"])
    with pytest.raises(HookError, match="no origin"):
        allowed([])


@given(st.text(max_size=80))
def test_any_text_as_url_is_an_origin_or_none(url):
    found = origin_of(url)
    assert found is None or len(found) == 3
    device = Device(URL)
    if not url.lower().startswith(URL):
        assert device.piggyback.headers(found) == ()


def test_full_profile_after_being_asked_then_rarer_and_rarer():
    clock = Clock()
    device = Device(URL, clock=clock)
    piggyback = device.piggyback
    times = []
    for second in range(2000):
        clock.now = float(second)
        piggyback.received(ORIGIN, "?")
        if len(piggyback.headers(ORIGIN)) == 3:
            times.append(second)
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert gaps[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert set(gaps[7:]) == {300}
    device.profile = Profile("device-1", installed={"ocr": "v4"})  # another profile is sent at once
    piggyback.received(ORIGIN, "?")
    assert names(piggyback.headers(ORIGIN)) == ["Walle-Profile", "Walle-Device", "Walle-Token"]
    clock.now += 1000  # after a quiet time the pauses start anew
    for expected in (3, 1, 1, 1, 1, 3):
        piggyback.received(ORIGIN, "?")
        assert len(piggyback.headers(ORIGIN)) == expected
        clock.now += 1


def test_only_who_asked_gets_the_full_profile():
    device = Device(URL, "https://other.example")
    device.piggyback.received(ORIGIN, "?")
    assert len(device.piggyback.headers(("https", "other.example", None))) == 1
    assert len(device.piggyback.headers(("https", "other.example", 443))) == 1
    assert len(device.piggyback.headers(("https", "api.shop.example", 443))) == 3
    device.piggyback.received(("https", "evil.example", None), "?")
    device.piggyback.received(None, "?")
    assert device.piggyback.counters.asked == 1


def test_without_a_token_the_question_stays_open():
    token = [None]
    device = Device(URL, token=lambda: token[0])
    device.piggyback.received(ORIGIN, "?")
    assert len(device.piggyback.headers(ORIGIN)) == 1
    token[0] = TOKEN
    assert dict(device.piggyback.headers(ORIGIN))["Walle-Token"] == TOKEN


def test_what_no_header_holds_is_pulled():
    pulls = []
    large = Profile("d", {f"a{i}": os.urandom(200).hex() for i in range(20)})
    device = Device(URL, profile=large, pull=lambda: pulls.append(1))
    device.piggyback.received(ORIGIN, "?")
    assert names(device.piggyback.headers(ORIGIN)) == ["Walle-Profile"]
    device.answers()
    assert pulls == [1]
    device.piggyback.received(ORIGIN, write_answer(bytes(4000)))
    assert device.answers() == []
    assert pulls == [1, 1]
    Device(URL).piggyback.received(ORIGIN, "!")  # without a way to pull it is only counted


def test_take_that_raises_or_hangs_harms_nobody():
    release, entered = threading.Event(), threading.Event()
    taken = []

    def take(answer):
        taken.append(answer)
        entered.set()
        if answer == b"000":
            release.wait(10)
        if answer == b"bad":
            raise RuntimeError("full disk")

    device = Device(URL)
    piggyback = device.piggyback
    piggyback._take = take
    piggyback.received(ORIGIN, write_answer(b"000"))
    assert entered.wait(10)
    for number in range(20):  # while it hangs, requests go on, and the oldest answers are dropped
        piggyback.received(ORIGIN, write_answer(b"%03d" % (number + 1)))
    piggyback.received(ORIGIN, write_answer(b"bad"))
    piggyback.received(ORIGIN, write_answer(b"end"))
    release.set()
    device.answers()
    assert taken == [b"000", *(b"%03d" % number for number in range(15, 21)), b"bad", b"end"]
    assert piggyback.courier.dropped == 14
    assert piggyback.courier.failed == 1
    piggyback.close()
    assert not any(
        thread.name == "walle hooks"
        for thread in threading.enumerate()
        if thread is piggyback.courier._thread
    )
    piggyback.received(ORIGIN, write_answer(ANSWER))
    assert len(taken) == 9


def test_courier_of_a_forked_child_works():
    courier = Courier()
    done = threading.Event()
    courier.put(done.set)
    assert done.wait(10)
    reader, writer = os.pipe()
    courier._changed.acquire()  # as if another thread were inside
    courier._pid = -1  # a fork in a process with threads warns; this is all that it changes
    courier.put(lambda: os.write(writer, b"x"))
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)


def test_profile_is_asked_for_once_per_request():
    device = Device(URL)
    calls = []
    device.piggyback._profile = lambda: calls.append(1) or PROFILE
    device.piggyback.headers(ORIGIN)
    device.piggyback.headers(("https", "evil.example", None))
    assert len(calls) == 1
