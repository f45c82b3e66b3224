"""What a device gets from the cloud's side."""

from __future__ import annotations

import msgspec


class CloudAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What the larger model says to a sample.

    Attributes:
        number: grows with time.
        device: that sent the sample.
        stream, seq: of the sample in the tunnel.
        task, version, run: of the run that was not confident; "" where the sample did not say.
        time: of the run, milliseconds of the device's clock.
        received, answered: Unix seconds.
        ok: whether there is an answer; if not, the sample was set aside.
        answer: packed, see `task.packing.unpack`.
        why: there is none.
    """

    number: int
    device: str
    stream: str
    seq: int
    task: str
    version: str
    run: str
    time: int
    received: float
    answered: float
    ok: bool
    answer: bytes
    why: str


class Page(msgspec.Struct, frozen=True):
    """Some answers, in order. `next`: the `since` of the next question."""

    next: int
    answers: list[CloudAnswer]
