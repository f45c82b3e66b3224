"""Takes answers off the path of the request that brought them: a bounded queue and a thread that is there when needed."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)


class Courier:
    """Calls what it is given, in order, one at a time, in a daemon thread of its own.

    `put` never waits for a call, and never raises. When `size` calls wait already, the oldest is dropped: a newer
    answer makes it void. A call that raises is logged and counted.
    """

    def __init__(self, size: int = 8, name: str = "walle hooks") -> None:
        self.dropped = self.failed = 0
        self._size, self._name = size, name
        self._renew()

    def _renew(self) -> None:
        # In a forked child neither the thread nor a lock that another thread held would ever come back.
        self._pid = os.getpid()
        self._waiting: deque[Callable[[], None]] = deque(maxlen=self._size)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._closed = False

    def put(self, call: Callable[[], None]) -> None:
        """Has `call` called soon; after `close` it is dropped."""
        if self._pid != os.getpid():
            self._renew()
        with self._changed:
            if self._closed or len(self._waiting) == self._size:
                self.dropped += 1
            if self._closed:
                return
            self._waiting.append(call)
            self._changed.notify_all()
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be had, as at the interpreter's end
            with self._changed:
                self._thread = None
                self._waiting.clear()
                self.dropped += 1

    def join(self, timeout: float | None = None) -> bool:
        """Waits until all that was put has been called; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Calls what waits, for at most `timeout` seconds, and ends."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                call = self._waiting.popleft()
                self._busy = True
            try:
                call()
            except Exception:
                self.failed += 1
                log.warning("an answer could not be handed over", exc_info=True)
