"""Asks the server whether anything is new, by itself or when an answer came along with a request of the application."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

from walle_core.errors import WalleError
from walle_deploy.agent.enrolment import Enrolment
from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.agent.updates import Updates
from walle_deploy.agent.wire import Server
from walle_deploy.profile import Profile
from walle_deploy.trust.answer import MAX_ANSWER

GIVEN = 8  # answers from other requests that may wait; of more, the oldest are dropped
ROUNDS = 4  # checks in a row while each changes what is installed
_log = logging.getLogger(__name__)


class Checker:
    """A thread that checks every so often, and at once when it is told to.

    Args:
        server, updates, enrolment: whom it asks, what does what they answer, and the token.
        profile: the device's profile now.
        settings: times.
        tell: called with what happens.
        stopping: set when the agent ends.
    """

    def __init__(
        self,
        server: Server,
        updates: Updates,
        enrolment: Enrolment,
        profile: Callable[[], Profile],
        settings: Settings,
        tell: Callable[[Happening], None],
        stopping: threading.Event,
    ) -> None:
        self._server, self._updates, self._enrolment, self._profile = server, updates, enrolment, profile
        self._settings, self._tell, self._stopping = settings, tell, stopping
        self._one = threading.Lock()  # what follows from answers is done one after the other
        self._changed = threading.Condition()
        self._given: deque[bytes] = deque(maxlen=GIVEN)
        self._hurry = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to check by itself, at once."""
        self._thread = threading.Thread(target=self._work, name="walle-checks", daemon=True)
        self._thread.start()

    def take(self, answer: bytes) -> None:
        """Takes an answer that came with another request; returns at once."""
        if len(answer) <= MAX_ANSWER:
            with self._changed:
                self._given.append(answer)
                self._changed.notify()

    def hurry(self) -> None:
        """Has the server asked soon; returns at once."""
        with self._changed:
            self._hurry = True
            self._changed.notify()

    def join(self, timeout: float) -> None:
        """Waits for the thread's end, once `stopping` is set."""
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def check(self) -> bool:
        """Asks now, in this thread, and does what the answer says; whether the server was heard and all of it is done."""
        with self._one:
            wait = self._round()
        return wait is None and not self._updates.pending

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping.is_set() or bool(self._given) or self._hurry,
                    max(due - time.monotonic(), 0.0),
                )
                given = list(self._given)
                self._given.clear()
                asked, self._hurry = self._hurry or time.monotonic() >= due, False
            if self._stopping.is_set():
                return
            with self._one:
                for answer in given:
                    self._guarded(lambda answer=answer: self._updates.judge(answer))  # type: ignore[misc]
                if asked or (given and self._updates.pending):
                    wait = self._round()
                    due = time.monotonic() + self._pause(wait)

    def _pause(self, wait: float | None) -> float:
        """Seconds until the next round, after one that ended well (None) or told to wait at least so long."""
        settings = self._settings
        if wait is None and not self._updates.pending:
            self._failures = 0
            return settings.every_s * random.uniform(0.5, 1.5)  # noqa: S311
        self._failures += 1
        bound = min(settings.longest_s, settings.first_s * 2.0 ** min(self._failures, 30))
        return max(bound * random.uniform(0.5, 1.0), min(wait or 0.0, settings.longest_s))  # noqa: S311

    def _round(self) -> float | None:
        """One check with all that follows; None if it went well, else the least seconds to the next."""
        waits: list[float] = []
        if self._updates.pending:
            self._guarded(self._updates.resume)
        for _ in range(ROUNDS):
            before = self._profile()
            waited = self._guarded(self._ask)
            if waited is not None:
                waits.append(waited)
            if waited is not None or self._profile() == before or self._stopping.is_set():
                break
        return max(waits, default=None)

    def _ask(self) -> None:
        profile = self._profile()
        if self._enrolment.known is not None and not self._server.wants_profile(profile):
            self._tell(Happening("checked", "nothing new"))
            return
        nonce = secrets.token_bytes(12)
        token = self._enrolment.token()
        try:
            answer = self._server.check(profile, token, nonce)
        except AwayError as error:
            if error.status != 401 or not self._enrolment.reject(token):
                raise
            answer = self._server.check(profile, self._enrolment.token(), nonce)
        if answer is None:
            self._tell(Happening("checked", "nothing new for this profile"))
        else:
            self._updates.judge(answer, nonce)
            self._tell(Happening("checked", "an answer that holds"))

    def _guarded(self, work: Callable[[], None]) -> float | None:
        """None if `work` went well; else it is told why, and the least seconds until another try."""
        try:
            work()
        except AwayError as error:
            self._tell(Happening("away", str(error)))
            return error.after_s or 0.0
        except AgentError as error:
            self._tell(Happening("problem", str(error)))
            return 0.0
        except WalleError as error:
            self._tell(Happening("refused", str(error)))
            return 0.0
        except Exception as error:  # a fault of ours must not end the checks
            _log.exception("a check failed")
            self._tell(Happening("problem", f"{type(error).__name__}: {error}"))
            return 0.0
        return None
