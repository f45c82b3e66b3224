"""Takes reports out of the journal to the server, by the tunnel or by HTTP; forgets each when it is durable there."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from walle_core.errors import WalleError
from walle_deploy.agent.cloud import Tunnel
from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.journal import Journal, Outcome
from walle_deploy.agent.wire import MAX_BODY, MAX_REPORTS, Server

STREAM = "walle.outcomes"  # of the tunnel; a payload is what one POST of reports has
LINGER_S = 0.2  # that a report waits for company
REQUEST_S = 1.0  # between requests: servers take about one a second from a device
REFUSED = frozenset({400, 413, 422})  # the server does not take this body, if it is the server that says so
PATIENCE = 6  # such answers
_encode = msgspec.msgpack.Encoder().encode
_log = logging.getLogger(__name__)


def by_tunnel(tunnel: Tunnel) -> Callable[[Sequence[Outcome]], int]:
    """Hands reports to a tunnel, each under its number: handed over again after a crash, it is known."""

    def send(outcomes: Sequence[Outcome]) -> int:
        tunnel.send_many([(STREAM, _encode([one]), str(one.number)) for one in outcomes])
        return len(outcomes)

    return send


def by_http(server: Server, device: str, token: Callable[[], str]) -> Callable[[Sequence[Outcome]], int]:
    """Posts as many reports as fit into one request. One that the server refuses `PATIENCE` times by itself is given up."""
    refused: dict[int, int] = {}

    def send(outcomes: Sequence[Outcome]) -> int:
        size, count = 8, 0
        for outcome in outcomes[:MAX_REPORTS]:
            size += len(_encode(outcome))
            if size > MAX_BODY and count:
                break
            count += 1
        while True:
            try:
                server.report(outcomes[:count], device, token())
            except AwayError as error:
                if error.status not in REFUSED:
                    raise
                if count > 1:
                    count = 1
                    continue
                number = outcomes[0].number
                refused[number] = refused.get(number, 0) + 1
                if refused[number] < PATIENCE:
                    raise
                _log.warning("report %d is given up: %s", number, error)
            for outcome in outcomes[:count]:
                refused.pop(outcome.number, None)
            return count

    return send


class Delivery:
    """A thread that delivers what the journal has.

    Args:
        journal: of the reports.
        send: hands over some, durable when it returns; how many of them it took, from the first on. Raises WalleError.
        pause_s: at least so long between two rounds of sending.
        first_s, longest_s: bounds of the wait after a failure, drawn by chance below them; doubled with each.
        missed: called with what went wrong.
    """

    def __init__(
        self,
        journal: Journal,
        send: Callable[[Sequence[Outcome]], int],
        pause_s: float = 0.0,
        first_s: float = 1.0,
        longest_s: float = 600.0,
        missed: Callable[[WalleError], None] = lambda error: None,
    ) -> None:
        self._journal, self._send, self._missed = journal, send, missed
        self._pause_s, self._first_s, self._longest_s = pause_s, first_s, longest_s
        self._changed = threading.Condition()
        self._stopping = self._hurry = self._trying = False
        self._fresh = True
        self._turn = 0  # how often a try failed
        self._thread = threading.Thread(target=self._work, name="walle-reports", daemon=True)
        journal.on_record(self._wake)
        self._thread.start()

    def _wake(self) -> None:
        with self._changed:
            self._fresh = True
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Tries at once, and waits until no report waits or a try fails, at most `timeout` seconds; whether none waits."""
        with self._changed:
            turn = self._turn + self._trying  # a try that has begun may fail for what was wrong before
            self._hurry = self._fresh = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not len(self._journal) or self._turn > turn or self._stopping, timeout
            )
        return not len(self._journal)

    def close(self, timeout: float = 10.0) -> None:
        """Ends the thread; what waits stays in the journal."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _work(self) -> None:
        failures, before = 0, 0.0
        while self._awaited(failures, before):
            before = time.monotonic()
            try:
                self._deliver()
                failures = 0
            except WalleError as error:
                failures += 1
                wait = error.after_s if isinstance(error, AwayError) else None
                self._missed(error)
                with self._changed:
                    self._trying = False
                    self._turn += 1
                    self._changed.notify_all()
                    pause = min(self._longest_s, self._first_s * 2.0 ** min(failures, 20))
                    pause = max(pause * random.uniform(0.5, 1.0), min(wait or 0.0, self._longest_s))  # noqa: S311
                    self._changed.wait_for(lambda: self._stopping or self._hurry, pause)

    def _awaited(self, failures: int, before: float) -> bool:
        """Waits until there is something to deliver, and a moment for more of it; False at the end."""
        with self._changed:
            if not failures:
                self._changed.wait_for(lambda: self._stopping or self._fresh)
                wait = max(LINGER_S, before + self._pause_s - time.monotonic())
                self._changed.wait_for(lambda: self._stopping or self._hurry, wait)
            self._fresh = self._hurry = False
            self._trying = True
            return not self._stopping

    def _deliver(self) -> None:
        while not self._stopping and (outcomes := self._journal.waiting(MAX_REPORTS)):
            count = self._send(outcomes)
            if count <= 0:
                raise AgentError("no report was taken")
            self._journal.delivered([one.number for one in outcomes[:count]])
        with self._changed:
            self._trying = False
            self._changed.notify_all()
