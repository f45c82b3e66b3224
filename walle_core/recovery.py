"""What a Session does when a device fails: it says whose it was and, if wanted, plans anew without it (ADR 17)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from walle_core.errors import DeviceError, WalleError, reworded

if TYPE_CHECKING:
    from walle_core.session import Session

POLICIES = ("raise", "replan")
ADVICE = (
    "check the device and its driver and make the Session anew, or make it with on_device_loss='replan', which goes on "
    "on the other backends"
)


def rerun(session: Session, error: DeviceError, tensors: Sequence[Any]) -> Sequence[Any]:
    """Outputs of a run that failed, made from its inputs by the backends that remain. Raises as `replan` does."""
    while True:
        replan(session, error, tensors)
        try:
            return session._plan(tensors).run(tensors)
        except DeviceError as another:  # a further device: each round leaves out one more
            error = another


def replan(session: Session, error: DeviceError, tensors: Sequence[Any] | None = None) -> None:
    """Plans without the backend that failed, and without those that fail while planning.

    Args:
        session: the error's. Unless this succeeds it stays as it is, so that its next run tries the same backends again.
        error: names the backend.
        tensors: inputs of the run to plan for; None while the session is being made.

    Raises:
        DeviceError: `error`, with what to do, if the session is to raise or the backends that remain cannot run it.
    """
    if session.on_device_loss != "replan" or not error.backend:
        _tell(session, error)
        raise reworded(error, f"{error}; {ADVICE}")
    failed, start, why = [error], time.perf_counter(), None
    with session._lock:
        if error.backend in session._lost:
            return  # another thread planned anew since this run began
        try:
            _without(session, failed, tensors)
        except WalleError as obstacle:
            why = obstacle
        lost = session._lost
    for each in failed:
        _tell(session, each)
    if why is not None:
        also = "".join(f"; {e}" for e in failed[1:])
        raise reworded(error, f"{error}{also}; nothing else can run this instead: {why}") from why
    seconds, left = time.perf_counter() - start, session.backends
    _notify("session.replanned", graph=session._source, seconds=seconds, lost=list(lost), backends=left)


def _without(session: Session, failed: list[DeviceError], tensors: Sequence[Any] | None) -> None:
    """Prepares the session on what remains; backends that fail meanwhile join `failed`."""
    while True:
        lost = tuple(dict.fromkeys((*session._lost, *(e.backend for e in failed))))
        try:
            session._prepare(lost, tensors)
        except DeviceError as error:
            if error.backend in ("", *lost):
                raise
            failed.append(error)
        else:
            return


def _tell(session: Session, error: DeviceError) -> None:
    facts = {"backend": error.backend, "device": error.device, "reason": type(error).__name__}
    _notify("device.lost", graph=session._source, error=str(error), **facts)


def _notify(kind: str, **facts: Any) -> None:
    from walle_core.plugins import load_plugins  # here: a session with a kept plan starts without it

    load_plugins().notify(kind, **facts)
