"""Keeps a worker's snapshot as new as the lease wants it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from walle_deploy.server.loading import Loader
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.snapshot import Snapshot
from walle_deploy.server.steady import steady

FORGET_S = 6 * 3600.0  # after which quiet devices describe themselves again

_CLOSED = "this worker ends; try again"
_log = logging.getLogger(__name__)


class Watch:
    """The snapshot of a worker, and the thread that looks at the epoch.

    Args:
        loader: makes the snapshots.
        poll: seconds between two looks; None: no thread.
        lease: seconds that a look is worth.
        also: called after each look of the thread.
    """

    def __init__(
        self, loader: Loader, poll: float | None, lease: float, also: Callable[[], None] = lambda: None
    ) -> None:
        self._loader, self._poll, self._lease, self._also = loader, poll, lease, also
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._gate = threading.Lock()
        self._waiting: list[Future[Snapshot]] = []
        self._forgot = steady()
        self._looked = 0.0
        self.trouble = ""
        self.snapshot: Snapshot = loader.load(None)
        self.refresh()
        self._thread: threading.Thread | None = None
        if poll is not None:
            self._thread = threading.Thread(target=self._run, name="walle-epoch", daemon=True)
            self._thread.start()

    def refresh(self) -> Snapshot:
        """Looks at the epoch, and returns the snapshot of now. Raises DeployError."""
        with self._lock:
            waiting = self._taken()  # those that came before this look
            started = steady()
            try:
                found = self._loader.load(self.snapshot)
            except Exception:
                _ended(waiting, "the epoch cannot be read now; try again")
                raise
            found.valid_until = started + self._lease
            if started - self._forgot > FORGET_S:
                self._forgot, found.quiet = started, set()
            self.snapshot, self._looked, self.trouble = found, started, ""
        if waiting:  # what they do with it must not keep the next look back
            threading.Thread(target=_told, args=(waiting, found), name="walle-fresh", daemon=True).start()
        return found

    def fresh(self) -> Snapshot | Future[Snapshot]:
        """A snapshot by a look that begins after this call: the next one of the thread, or one at once if there is none.

        Raises DeployError.
        """
        if self._thread is None:
            return self.refresh()
        made: Future[Snapshot] = Future()
        with self._gate:
            if self._stop.is_set():
                raise BusyError(_CLOSED)
            self._waiting.append(made)
        return made

    def current(self) -> Snapshot:
        """The snapshot, while something may be offered by it. Raises BusyError."""
        found = self.snapshot
        if steady() >= found.valid_until:
            raise BusyError(self.stale())
        return found

    def stale(self) -> str:
        """Why nothing is offered; "" if something is."""
        if steady() < self.snapshot.valid_until:
            return ""
        why = self.trouble or "the database did not answer in time"
        return f"what may be offered was last known {self.age():.1f} s ago: {why}; try again"

    def age(self) -> float:
        """Seconds since the last look."""
        return steady() - self._looked

    def close(self) -> None:
        """Ends the thread."""
        with self._gate:
            self._stop.set()
        if self._thread is not None:
            self._thread.join()
        _ended(self._taken(), _CLOSED)

    def _taken(self) -> list[Future[Snapshot]]:
        with self._gate:
            waiting, self._waiting = self._waiting, []
        return waiting

    def _run(self) -> None:
        while not self._stop.wait(self._poll):
            try:
                self.refresh()
                self._also()
            except Exception as error:
                if not self.trouble:
                    _log.warning("the epoch cannot be read: %s", error)
                self.trouble = str(error)[:300] or type(error).__name__


def _told(waiting: list[Future[Snapshot]], found: Snapshot) -> None:
    for each in waiting:
        if each.set_running_or_notify_cancel():
            each.set_result(found)


def _ended(waiting: list[Future[Snapshot]], why: str) -> None:
    for each in waiting:
        if each.set_running_or_notify_cancel():
            each.set_exception(BusyError(why))
