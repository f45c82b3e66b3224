"""What the samples that devices send cost: how many, how large, how long the larger model took, and the money."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import msgspec


@attrs.frozen
class Price:
    """What the operator pays.

    Attributes:
        cpu_s: for a second of processor of the larger model.
        gb: for 10**9 bytes between devices and cloud, samples and answers.
        currency: as it is shown.
    """

    cpu_s: float = 0.0
    gb: float = 0.0
    currency: str = "EUR"


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a task.

    Attributes:
        task, version: whose; "" for samples that did not say.
        runs: on devices, as far as they have reported.
        unsure: of these, runs that were not confident.
        samples: that came.
        aside: of these, samples that have no answer.
        share: samples / runs; None where no runs are known.
        bytes_up, bytes_down: of samples, and of answers.
        ms, cpu_ms: that the larger model took, and of processor, in all.
        money: in all.
        currency: of it.
    """

    task: str
    version: str
    runs: int
    unsure: int
    samples: int
    aside: int
    share: float | None
    bytes_up: int
    bytes_down: int
    ms: float
    cpu_ms: float
    money: float
    currency: str


def costs(rows: Iterable[Any], price: Price) -> list[Cost]:
    """The table, from rows of `CloudStore.counted`."""
    made = []
    for row in rows:
        runs, samples = int(row.runs), int(row.samples)
        up, down, cpu_ms = int(row.bytes_up), int(row.bytes_down), float(row.cpu_ms)
        money = price.cpu_s * cpu_ms / 1e3 + price.gb * (up + down) / 1e9
        made.append(
            Cost(
                task=row.task, version=row.version, runs=runs, unsure=int(row.unsure), samples=samples,
                aside=int(row.aside), share=samples / runs if runs else None, bytes_up=up, bytes_down=down,
                ms=float(row.ms), cpu_ms=cpu_ms, money=money, currency=price.currency,
            )
        )  # fmt: skip
    return made
