"""A process that is a part of a fleet: ``python -m walle_deploy.fleet.worker``; lines of JSON go in and out.

The first line that comes is a Part; each later one says where the release stands (Look), and with the first of these devices
begin to ask. When no more can come, the process ends. Each line that it writes is a Status, the first one when it is ready.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec
import numpy as np

from walle_deploy.errors import DeployError
from walle_deploy.fleet.beta import beta_of
from walle_deploy.fleet.court import Court
from walle_deploy.fleet.fleet import Fleet, Nature, Tally
from walle_deploy.fleet.load import Load, Way
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.rules import Moment, Rules
from walle_deploy.fleet.running import run_load
from walle_deploy.memory import settle
from walle_deploy.release.plan import plan_from
from walle_deploy.trust.answer import Director
from walle_deploy.trust.keys import PublicKey

SLACK_S = 1.5  # for which a server may act on what it knew before: its lease, and the time of an answer


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do.

    Attributes:
        size: devices of the whole fleet.
        first: the first one of this part.
        last: the one after its last.
        prefix: of ids.
        nature: of the fleet.
        way: to the server.
        task: that is followed.
        version: of it that is released.
        previous: version before.
        plan: of the release; None: nobody judges answers.
        segments: name -> policy.
        director: keys that sign answers; none: signatures are not checked.
        epoch: of the director.
        step: seconds of the fleet between two arrivals of reports.
    """

    size: int
    first: int
    last: int
    prefix: str
    nature: Nature
    way: Way
    task: str
    version: str
    previous: str | None = None
    plan: dict[str, Any] | None = None
    segments: dict[str, Any] = {}
    director: list[bytes] = []
    epoch: int = 0
    step: float = 1.0


class Look(msgspec.Struct, frozen=True):
    """Where the release stood at a Unix time."""

    at: float
    moment: Moment


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has done.

    Attributes:
        tally: in numbers.
        covered: devices that have the version that is released.
        living: that are not gone.
        kept: that keep the version before until the release is finished.
        judged: answers that were held against the rules.
        waiting: that are not judged yet.
        verified: answers whose signature was checked.
        delays: milliseconds that half, and 99 % of the answers took at most.
        error: that ended it.
        broken: whether the error is a rule that was broken.
    """

    tally: Tally
    covered: int
    living: int
    kept: int
    judged: int = 0
    waiting: int = 0
    verified: int = 0
    delays: tuple[float, float] = (0.0, 0.0)
    error: str = ""
    broken: bool = False


_part = msgspec.json.Decoder(Part).decode
_look = msgspec.json.Decoder(Look).decode
encode = msgspec.json.Encoder().encode


def made(part: Part) -> Load:
    """The devices of a part, ready to ask. Raises DeployError."""
    population = Population(part.size, part.nature.seed, part.prefix).part(part.first, part.last)
    court = None
    if part.plan is not None:
        plan = plan_from(part.plan)
        beta = beta_of(population, plan, part.segments)
        court = Court(Rules(part.task, part.version, part.previous, plan, beta), SLACK_S * part.way.speed)
    director = Director(tuple(map(PublicKey, part.director)), part.epoch) if part.director else None
    return Load(Fleet(population, part.nature, director, court, part.step), part.way)


def status(load: Load, part: Part, error: Exception | None = None) -> Status:
    """What a worker has done."""
    fleet, court = load.fleet, load.fleet.court
    low, high = np.percentile(np.array(load.delays) * 1000, [50, 99]) if load.delays else (0.0, 0.0)
    return Status(
        tally=fleet.tally,
        covered=fleet.having(part.task, part.version),
        living=fleet.living,
        kept=fleet.kept,
        judged=court.rules.judged if court is not None else 0,
        waiting=court.waiting if court is not None else 0,
        verified=fleet.devices.heard.verified,
        delays=(float(low), float(high)),
        error=str(error) if error is not None else "",
        broken=type(error).__name__ == "BrokenRuleError",
    )


def main() -> None:
    """Runs a part until the standard input ends."""
    source, sink, stop = sys.stdin.buffer, sys.stdout.buffer, threading.Event()
    part = _part(source.readline())
    load, broken = made(part), []

    def listen() -> None:
        try:
            for line in source:
                look = _look(line)
                looks.append((look.at, look.moment))
                begin.set()
        finally:
            stop.set()
            begin.set()

    def tell(load: Load) -> None:
        while looks:
            load.look(*looks.pop(0))
        write(status(load, part))

    def write(what: Status) -> None:
        sink.write(encode(what) + b"\n")
        sink.flush()

    looks: list[tuple[float, Moment]] = []
    begin = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    write(status(load, part))
    settle()
    begin.wait()
    try:
        run_load(load, stop, tell)
    except (DeployError, OSError) as error:
        broken.append(error)
    write(status(load, part, *broken))


if __name__ == "__main__":
    main()
