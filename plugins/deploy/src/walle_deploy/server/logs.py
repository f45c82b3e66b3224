"""Logs for programs: one JSON object a line on standard error. Bodies, headers, queries and tokens are never in it."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

log = logging.getLogger("walle_deploy.server")

MAX_TEXT = 2000  # characters of one value

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` are members of it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage()[:MAX_TEXT],
            "logger": record.name,
            "process": os.getpid(),
        }
        for name, value in getattr(record, "fields", {}).items():
            line[name] = _clean(value)
        if record.exc_info:
            line["trace"] = _clean(self.formatException(record.exc_info)[-4 * MAX_TEXT :])
        return _encode(line).decode()


def _clean(value: Any) -> Any:
    return value.encode(errors="replace").decode()[: 4 * MAX_TEXT] if isinstance(value, str) else value


def set_up(level: str = "info") -> None:
    """Makes this process log so; what others have set up for the root logger is replaced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel("WARNING")
    access = logging.getLogger("uvicorn.access")  # it has queries
    access.handlers[:], access.propagate = [], False


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Logs that something happened."""
    log.log(level, name, extra={"fields": fields})


class Throttled:
    """Logs at most `burst` events of a name in `seconds`; how many were left out is told with the next one."""

    def __init__(
        self, burst: int = 20, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._seen: dict[str, tuple[float, int]] = {}  # name -> when it began, how many since

    def __call__(self, name: str, level: int = logging.WARNING, **fields: Any) -> None:
        """See `event`; names come from the code, so that they are few."""
        now = self._clock()
        began, count = self._seen.get(name, (now, 0))
        if now - began >= self._seconds:
            if count > self._burst:
                fields["left_out"] = count - self._burst
            began, count = now, 0
        self._seen[name] = (began, count + 1)
        if count < self._burst:
            event(name, level, **fields)
