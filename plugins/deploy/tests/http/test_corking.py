"""Writes that go together, and none that waits for what does not come."""

import asyncio

import pytest
from walle_deploy.server import corking
from walle_deploy.server.corking import Corked


class Wire:
    def __init__(self):
        self.written, self.closed, self.aborted = [], False, False

    def write(self, data):
        assert not self.closed
        self.written.append(data)

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return f"the {name}"


async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)


def run(work):
    async def main():
        wire = Wire()
        await work(wire, Corked(wire, asyncio.get_running_loop()))
        return wire.written

    return asyncio.run(main())


def test_what_was_written_goes_as_one():
    async def work(wire, made):
        for part in (b"head", b"body", b"more"):
            made.write(part)
        assert wire.written == []
        made.flush()
        made.flush()

    assert run(work) == [b"headbodymore"]


def test_nothing_waits_longer_than_some_turns():
    async def work(wire, made):
        for number in range(3):
            made.write(b"event %d" % number)
            await turns(corking.IDLE + 2)
            assert wire.written[-1] == b"event %d" % number

    assert len(run(work)) == 3


def test_what_comes_turn_by_turn_is_gathered_but_not_for_ever():
    async def work(wire, made):
        for _ in range(2 * corking.TURNS):
            made.write(b"x")
            await turns(1)

    written = run(work)
    assert len(written) >= 2
    assert corking.TURNS // 2 < len(written[0]) <= corking.TURNS + 1


def test_much_does_not_wait():
    async def work(wire, made):
        made.write(b"head")
        made.write(bytes(corking.LARGE))
        assert len(wire.written) == 1

    assert run(work) == [b"head" + bytes(corking.LARGE)]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_an_end(how):
    async def work(wire, made):
        made.write(b"last words")
        getattr(made, how)()
        assert wire.closed is (how == "close")
        assert wire.aborted is (how == "abort")
        made.write(b"too late")
        await turns(10)

    assert run(work) == ([b"last words"] if how == "close" else [b"too late"])


def test_everything_else_is_the_transports():
    async def work(wire, made):
        assert made.get_extra_info("peername") == "the peername"
        assert not made.is_closing()

    run(work)
