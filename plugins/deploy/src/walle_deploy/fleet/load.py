"""A fleet that asks a server through sockets, in real time or a multiple of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import attrs
import msgspec
import numpy as np

from walle_deploy.fleet.errors import FleetError
from walle_deploy.fleet.fleet import Fleet
from walle_deploy.fleet.links import Job, Links
from walle_deploy.fleet.rules import Moment
from walle_deploy.fleet.wire import Address, Requests

PUMP_S = 0.02  # between two looks at who wants to ask
LOOK_S = 0.2  # likewise at a million devices, at fewer as much oftener
BUSY_S = 1.0  # before a busy server is asked again
SAMPLED = 16  # of so many answers one is timed
DIGEST, PROFILE, REPORT, REGISTER = range(4)

_encode = msgspec.msgpack.Encoder().encode


@attrs.frozen(kw_only=True)
class Way:
    """How a fleet asks.

    Attributes:
        url: of the server.
        enrol: enrolment secret, with which devices register.
        secret: the server's, which makes tokens without registering; for who owns both.
        connections: to the server for checks; half as many again are for reports, which wait for the server's disk.
        depth: requests that wait on each.
        speed: seconds of the fleet in a real one.
    """

    url: str
    enrol: str = ""
    secret: bytes = b""
    connections: int = 16
    depth: int = 8
    speed: float = 1.0


class Load:
    """The devices of a fleet on connections.

    Args:
        fleet: of devices.
        way: how they ask.
    """

    def __init__(self, fleet: Fleet, way: Way) -> None:
        if not way.enrol and not way.secret:
            raise FleetError(
                "devices need tokens: give an enrolment secret (`walle deploy token NAME --role enrol`)"
            )
        self.fleet, self._way = fleet, way
        self._requests = Requests(Address.of(way.url))
        lines = range(
            way.connections
        )  # a device keeps its connection, and so the process of the server behind it
        self._digests: list[deque[int]] = [deque() for _ in lines]
        self._profiles: list[deque[tuple[int, int, Any]]] = [deque() for _ in lines]  # go before digests
        self._reports: deque[tuple[int, int, Any]] = deque()
        self._later: list[tuple[float, int, int, int, Any]] = []
        self._registering: dict[int, list[tuple[int, Any]]] = {}
        self._tokens: dict[int, bytes] = {}
        self._began, self._looked = time.time(), 0.0
        self._every = LOOK_S * len(fleet.population) / 1e6
        self._count = 0
        self._links: tuple[Links, ...] = ()
        self.delays: deque[float] = deque(maxlen=20_000)

    @property
    def now(self) -> float:
        """Seconds since the fleet's beginning, as its devices feel them."""
        return (time.time() - self._began) * self._way.speed

    def look(self, at: float, moment: Moment) -> None:
        """The release stood so at this Unix time."""
        if self.fleet.court is not None:
            self.fleet.court.look((at - self._began) * self._way.speed, moment)

    async def run(
        self,
        stop: threading.Event,
        on_progress: Callable[[Load], object] = lambda _load: None,
        every: float = 0.5,
    ) -> None:
        """Asks until `stop` is set. Raises FleetError, BrokenRuleError.

        Args:
            stop: ends it.
            on_progress: called every so often.
            every: seconds.
        """
        address, way = Address.of(self._way.url), self._way
        checks = Links(address, way.connections, way.depth, self._check, self._done, self._back)
        others = Links(address, (way.connections + 1) // 2, way.depth, self._report, self._done, self._back)
        self._links = checks, others
        self._began, told = time.time(), 0.0
        try:
            for links in self._links:
                await links.open()
            while not stop.is_set() and not any(links.error for links in self._links):
                self._pump()
                for links in self._links:
                    links.wake()
                if time.monotonic() - told >= every:
                    told = time.monotonic()
                    self._sum()
                    on_progress(self)
                await asyncio.sleep(PUMP_S)
        finally:
            for links in self._links:
                links.close()
            self._sum()
        for links in self._links:
            if links.error is not None:
                raise links.error

    def _sum(self) -> None:
        tally = self.fleet.tally
        tally.up, tally.down = (sum(getattr(links, way) for links in self._links) for way in ("up", "down"))

    def _pump(self) -> None:
        fleet, now = self.fleet, self.now
        while self._later and self._later[0][0] <= now:
            _, _, kind, number, more = heappop(self._later)
            self._put(kind, number, more)
        fleet.installed(now)
        looking = time.monotonic() - self._looked >= self._every
        if looking and sum(map(len, self._digests)) < len(fleet.population):
            self._looked = time.monotonic()
            asking = fleet.begin(now)
            for number in asking.tolist():
                self._put(DIGEST, number, None)
            fleet.run(asking, now)
        for letter in fleet.mail.arrived(now):
            task, version = fleet.task(letter)
            failed = bool(letter[4])
            why = "the run ended with an error" if failed else ""
            self._put(REPORT, letter[0], _encode([(letter[1], task, version, failed, {}, why)]))

    def _put(self, kind: int, number: int, more: Any) -> None:
        if kind == DIGEST:
            self._digests[number % self._way.connections].append(number)
        elif kind == PROFILE:
            self._profiles[number % self._way.connections].append((kind, number, more))
        else:
            self._reports.append((kind, number, more))

    def _check(self, line: int) -> tuple[bytes, Job] | None:
        """The next request with a digest or a profile."""
        devices, made = self.fleet.devices, self._requests
        profiles, digests = self._profiles[line], self._digests[line]
        while profiles:
            kind, number, more = profiles.popleft()
            token = self._token(number)
            if token is None:
                self._register(kind, number, more)
                continue
            return made.profile(token, devices.canonical(number)), (kind, number, more, time.monotonic())
        if not digests:
            return None
        number = digests.popleft()
        return made.digest(devices.header(number)), (DIGEST, number, None, time.monotonic())

    def _report(self, _line: int) -> tuple[bytes, Job] | None:
        """The next request with a report, or for a token."""
        made, name = self._requests, self.fleet.population.id
        while self._reports:
            kind, number, more = self._reports.popleft()
            if kind == REGISTER:
                return made.register(name(number), self._way.enrol), (kind, number, more, time.monotonic())
            token = self._token(number)
            if token is None:
                self._register(kind, number, more)
                continue
            return made.reports(name(number), token, more), (kind, number, more, time.monotonic())
        return None

    def _register(self, kind: int, number: int, more: Any) -> None:
        """The device asks for a token first."""
        waiting = self._registering.get(number)
        if waiting is None:
            self._registering[number] = waiting = []
            self._put(REGISTER, number, None)
        waiting.append((kind, more))

    def _token(self, number: int) -> bytes | None:
        if not self._way.secret:
            return self._tokens.get(number)
        from walle_deploy.server.auth import device_token

        return device_token(self._way.secret, self.fleet.population.id(number)).encode()

    def _done(self, job: Job, status: bytes, body: bytes) -> None:
        kind, number, more, sent = job
        self._count += 1
        if self._count % SAMPLED == 0:
            self.delays.append(time.monotonic() - sent)
        tally = self.fleet.tally
        if status in {b"429", b"503"}:
            tally.busy += 1
            self._postpone(kind, number, more)
        elif kind == DIGEST and status in {b"204", b"428"}:
            tally.digests += 1
            if status == b"204":
                tally.quiet += 1
            else:
                self._put(PROFILE, number, None)
        elif kind == PROFILE and status in {b"200", b"204"}:
            tally.profiles += 1
            if status == b"200":
                self.fleet.answered(number, body, self.now, time.time())
        elif kind == REPORT and status == b"204":
            tally.reports += 1
        elif kind == REGISTER and status == b"200":
            self._tokens[number] = str(json.loads(body)["token"]).encode()
            for what, rest in self._registering.pop(number, ()):
                self._put(what, number, rest)
        else:
            raise FleetError(f"{self.fleet.population.id(number)}: {_KINDS[kind]}: {_said(status, body)}")

    def _postpone(self, kind: int, number: int, more: Any) -> None:
        wait = BUSY_S * self._way.speed * np.random.default_rng(self._count).uniform(0.5, 1.5)
        heappush(self._later, (self.now + wait, self._count, kind, number, more))

    def _back(self, job: Job) -> None:
        self._put(*job[:3])


_KINDS = ("a check by digest", "a check", "a report", "a registration")


def _said(status: bytes, body: bytes) -> str:
    text = "".join(sign if sign.isprintable() else " " for sign in body[:300].decode("utf-8", "replace"))
    return f"HTTP status {status.decode('latin-1')} {text}".rstrip()
