"""A check beside a business request: never later than its deadline, never in the way after it has failed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import blake2b
from typing import Any

import attrs

from walle_deploy.errors import HookError
from walle_deploy.hooks import headers as wire
from walle_deploy.hooks.contract import Check
from walle_deploy.profile import DIGEST_BYTES

STRIKES, REST_S = 5, 5.0  # so many checks in a row that fail or are late end all checks for so long
LATE, LATE_S = 1024, 60.0  # so many late answers wait for the device's next request, each for so long
RUNNING, LONGEST_S = 256, 5.0  # checks at the same time; a check that takes longer is given up

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Counters:
    """What happened to requests with a profile.

    `malformed`: with headers, a profile or a token that are none; `skipped`: not checked, after failures or because too
    many were running; `late`: the check was not done at the deadline; `shared`: left out of a response that shared
    caches may keep.
    """

    quiet: int = 0
    asked: int = 0
    answers: int = 0
    malformed: int = 0
    failed: int = 0
    skipped: int = 0
    late: int = 0
    shared: int = 0


Begun = str | asyncio.Task[str]
"""The value for the answer's header ("" for none), or what will have it."""


class Checker:
    """Runs the questions of `check`; nothing here raises or takes longer than `deadline` seconds."""

    def __init__(self, check: Check, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.check, self.counters = check, Counters()
        self._deadline, self._clock = deadline, clock
        self._running: set[asyncio.Task[str]] = set()
        self._kept: dict[bytes, tuple[float, str]] = {}  # digest -> until when, value; the oldest first
        self._strikes, self._rests_until = 0, 0.0

    def begin(self, digest: bytes, full: tuple[bytes, str] | None) -> tuple[Begun, float]:
        """Starts the check of a digest, or of a full profile and its token; also when it was started."""
        now = self._clock()
        if full is not None:
            return self._start(
                self._find(*full), now, blake2b(full[0], digest_size=DIGEST_BYTES).digest()
            ), now
        if self._kept:
            until, value = self._kept.pop(digest, (0.0, ""))
            if now < until:
                self.counters.answers += 1
                return value, now
        try:
            quiet = self.check.quiet(digest)
        except Exception as error:
            return self._failed(error), now
        return self._start(self._ask(digest), now) if quiet is None else self._said(quiet), now

    async def value(self, begun: Begun, start: float) -> str:
        """The value for the answer's header, at the deadline at the latest."""
        if isinstance(begun, str):
            return begun
        left = start + self._deadline - self._clock()
        if left > 0 and not begun.done():
            await asyncio.wait([begun], timeout=left)
        if begun.done():
            return "" if begun.cancelled() else begun.result()
        self.counters.late += 1
        self._strike()
        self.end(begun)
        return ""

    def end(self, begun: Begun) -> None:
        """No response wants the value any more; an answer is kept for the device's next request."""
        if isinstance(begun, str) or begun.done():
            return
        if begun.get_name() == _DIGEST:
            begun.cancel()
        else:
            begun.add_done_callback(partial(self._keep, bytes.fromhex(begun.get_name())))

    async def close(self) -> None:
        """Gives up what is running, and closes the check."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        close = getattr(self.check, "close", None)
        if close is not None:
            await close()

    def _start(self, work: Coroutine[Any, Any, str], now: float, digest: bytes | None = None) -> Begun:
        if now < self._rests_until or len(self._running) >= RUNNING:
            self.counters.skipped += 1
            work.close()
            return ""
        task = asyncio.create_task(work, name=_DIGEST if digest is None else digest.hex())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _ask(self, digest: bytes) -> str:
        try:
            async with asyncio.timeout(LONGEST_S):
                quiet = await self.check.digest(digest)
        except Exception as error:
            return self._failed(error)
        self._strikes = 0
        return self._said(quiet)

    async def _find(self, profile: bytes, token: str) -> str:
        try:
            async with asyncio.timeout(LONGEST_S):
                answer = await self.check.full(profile, token)
        except HookError as error:
            self.counters.malformed += 1
            log.debug("%s", error)
            return ""
        except Exception as error:
            return self._failed(error)
        self._strikes = 0
        if answer is None:
            self.counters.quiet += 1
            return ""
        self.counters.answers += 1
        return wire.write_answer(answer)

    def _said(self, quiet: bool) -> str:
        if quiet:
            self.counters.quiet += 1
            return ""
        self.counters.asked += 1
        return wire.ASK

    def _failed(self, error: Exception) -> str:
        self.counters.failed += 1
        log.debug("no check: %r", error)
        self._strike()
        return ""

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes >= STRIKES:
            log.warning("%d checks in a row failed or were late: none for %g s", self._strikes, REST_S)
            self._strikes, self._rests_until = 0, self._clock() + REST_S

    def _keep(self, digest: bytes, task: asyncio.Task[str]) -> None:
        value = "" if task.cancelled() else task.result()
        if value:
            self._kept.pop(digest, None)
            self._kept[digest] = (self._clock() + LATE_S, value)
            if len(self._kept) > LATE:
                del self._kept[next(iter(self._kept))]


_DIGEST = "digest"
