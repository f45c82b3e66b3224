"""The device's side of push-then-pull: what to add to a request, and what to make of a response's header."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import attrs

from walle_deploy.errors import HookError
from walle_deploy.hooks import headers as wire
from walle_deploy.hooks.courier import Courier
from walle_deploy.hooks.origins import Origin, allowed
from walle_deploy.profile import Profile

Pairs = tuple[tuple[str, str], ...]

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Counters:
    """What happened. `malformed`: headers that were no answers; `failed`: no profile or token could be had."""

    full: int = 0
    asked: int = 0
    answers: int = 0
    pulls: int = 0
    malformed: int = 0
    failed: int = 0


class Piggyback:
    """What a device adds to the requests that its application makes anyway, and what it takes from the responses.

    Neither `headers` nor `received` raises, waits, or does I/O. Usable from any thread. The adapters (`on_httpx`,
    `on_requests`, `on_urllib3`) call them; for another client, call `headers(origin_of(url))` before and
    `received(origin_of(url), value)` after, and remove `NAMES` from what is sent to any other origin.

    Arguments:
        profile: the device's profile now; called for every request, so it must only hand out what is there; None: none yet.
        take: gets every answer, unverified, in a thread of its own; see `trust.Gate`.
        token: the device's token, or what gives it; None: there is none yet, so only digests are sent.
        origins: who may see the profile, such as ``["https://api.shop.example"]``; exact.
        pull: called in the same thread when there is news that no header can hold: ask the deployment server then.
        clear: see `origins.allowed`.
        pause: seconds until the same profile is sent a second time; doubles each time, up to `longest`.

    Raises HookError for an origin that is none.
    """

    def __init__(
        self,
        profile: Callable[[], Profile | None],
        take: Callable[[bytes], None],
        *,
        token: str | Callable[[], str | None],
        origins: Iterable[str],
        pull: Callable[[], None] | None = None,
        clear: bool = False,
        pause: float = 5.0,
        longest: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = Counters()
        self.courier = Courier()
        self._origins = allowed(origins, clear=clear)
        self._profile, self._take, self._pull, self._clock = profile, take, pull, clock
        self._token: Callable[[], str | None] = (lambda: token) if isinstance(token, str) else token
        self._pause, self._longest = pause, longest
        self._asked: set[Origin] = set()  # adding and removing are each atomic: there is no lock to wait for
        self._known: tuple[Profile | None, Pairs] = (None, ())
        self._sent: tuple[bytes, float, float] = (b"", 0.0, 0.0)  # digest, time from which it is due, pause

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins, each with its port."""
        return tuple(
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
            for scheme, host, port in dict.fromkeys(self._origins.values())
        )

    def headers(self, origin: Origin | None) -> Pairs:
        """Headers for a request to `origin`; none for one that the application does not name."""
        found = self._origins.get(origin)  # type: ignore[arg-type]
        if found is None:
            return ()
        pairs: Pairs = ()
        try:
            profile = self._profile()
            if profile is None:
                return ()
            known, pairs = self._known
            if known is not profile:
                pairs = ((wire.PROFILE, profile.header()),)
                self._known = (profile, pairs)
            if found in self._asked:
                pairs += self._full(found, profile)
        except Exception:
            self.counters.failed += 1
            log.debug("no profile for a request", exc_info=True)
        return pairs

    def _full(self, origin: Origin, profile: Profile) -> Pairs:
        digest, due, pause = self._sent
        now = self._clock()
        if digest != profile.digest or now > due + self._longest:
            pause = self._pause
        elif now < due:
            return ()
        else:
            pause = min(2 * pause, self._longest)
        token = self._token()
        if token is None:
            return ()
        wire.read_token(token)
        value = wire.write_profile(profile)
        try:
            self._asked.remove(origin)
        except KeyError:  # another thread's request takes it along
            return ()
        self._sent = (profile.digest, now + pause, pause)
        if len(value) > wire.MAX_VALUE:
            self._told_to_pull()
            return ()
        self.counters.full += 1
        return (wire.DEVICE, value), (wire.TOKEN, token)

    def received(self, origin: Origin | None, value: str | None) -> None:
        """Takes the value of the header `ANSWER` of a response from `origin`; None if there is no such header."""
        if value is None:
            return
        found = self._origins.get(origin)  # type: ignore[arg-type]
        if found is None:
            return
        try:
            if value == wire.ASK:
                self.counters.asked += 1
                self._asked.add(found)
            elif value == wire.PULL:
                self._told_to_pull()
            else:
                answer = wire.read_answer(value)
                self.counters.answers += 1
                self.courier.put(lambda: self._take(answer))
        except HookError as error:
            self.counters.malformed += 1
            log.debug("%s", error)
        except Exception:
            self.counters.failed += 1
            log.debug("no use of a response's header", exc_info=True)

    def _told_to_pull(self) -> None:
        self.counters.pulls += 1
        if self._pull is not None:
            self.courier.put(self._pull)

    def close(self, timeout: float = 5.0) -> None:
        """Hands over what waits, for at most `timeout` seconds; later answers are dropped."""
        self.courier.close(timeout)
