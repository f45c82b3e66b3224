"""Settings of an agent, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from walle_deploy.install.fetch import Patience


@attrs.frozen
class Settings:
    """Times in seconds, sizes in bytes.

    Attributes:
        every_s: between checks, give or take half of it by chance, so that a fleet does not come at once.
        first_s, longest_s: bounds of the wait after a check that failed, drawn by chance below them; doubled each time.
        request_s: for one request of the server with its answer.
        failures: failed runs of a version in a row, after which the device goes back by itself.
        queue: runs of one task that may wait; of more, the oldest are dropped.
        idle_s: without work, after which a task's process ends until there is some.
        start_s: that a task's process may take to start.
        pause_s: between starts of a new version that fail.
        close_s: that `close` delivers reports for.
        max_bytes: of all installed versions and what is being fetched.
        tick_s: how often the pipeline is told the time; 0: its time passes with the events only.
        patience: with the server of files.
    """

    every_s: float = 300.0
    first_s: float = 2.0
    longest_s: float = 3600.0
    request_s: float = 30.0
    failures: int = 2
    queue: int = 64
    idle_s: float = 300.0
    start_s: float = 60.0
    pause_s: float = 1.0
    close_s: float = 2.0
    max_bytes: int = 2 << 30
    tick_s: float = 0.0
    patience: Patience = attrs.field(default=Patience(tries=3, longest_s=10.0))


@attrs.frozen
class Happening:
    """Something that an agent did or met.

    Attributes:
        kind: ``registered``, ``checked``, ``refused``, ``installed``, ``removed``, ``ran``, ``failed``, ``reverted``,
            ``kept``, ``away``, ``problem``.
        text: one line for people.
        task, version: of which; "" if of none.
        values: measured numbers.
    """

    kind: str
    text: str
    task: str = ""
    version: str = ""
    values: Mapping[str, float] = attrs.field(factory=dict)
