"""Worker processes: what crashes, hangs or grows in one costs one run. They are forked from a warm server in a few milliseconds."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections import OrderedDict
from itertools import count
from typing import Any

from walle_core.errors import InputError
from walle_core.vm import models, sandbox, wire
from walle_core.vm.errors import PackageError, PolicyError
from walle_core.vm.package import Package
from walle_core.vm.servers import SERVERS
from walle_core.vm.types import ERRORS, Ended, Limits, Outcome, Policy, Task, failed
from walle_core.vm.wire import ASK, CALL, DIED, FORGET, LOAD, MODEL, SETUP

MAX_LOADED = 256  # tasks that one process keeps
_SLACK = 256 << 10  # bytes by which a limit may be off rather than set anew
_WHAT = {
    Outcome.TIMEOUT: "it ran longer than its limit",
    Outcome.MEMORY: "it wanted more memory than its limit",
    Outcome.OUTPUT: "it wrote more than its limit",
    Outcome.CANCELLED: "it was cancelled",
}


class _ProtocolError(Exception):
    """The other side does not keep to the protocol."""


class _Died(EOFError):
    """The process has ended with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _received(channel: socket.socket) -> Any:
    """The value of the next answer; a task that asks for a shared model gets it meanwhile.

    Raises _Died, EOFError, OSError, _ProtocolError.
    """
    try:
        kind, found = wire.receive(channel)
        while kind == ASK and isinstance(found, str):
            wire.send(channel, MODEL, models.tensor(found))
            kind, found = wire.receive(channel)
    except InputError as error:
        raise _ProtocolError(error) from error
    if kind == DIED and isinstance(found, int):
        raise _Died(found)
    return found


class ProcessWorker:
    """Runs tasks in a process of its own, which it replaces when it has died, or when a task of another policy comes.

    Args:
        warm: start the process now, for tasks with this policy.
    """

    def __init__(self, warm: Policy | None = None) -> None:
        self._lock = threading.Lock()  # of pidfd, running and why, which `kill` uses from other threads
        self._pidfd = -1
        self._running = False
        self._why: Outcome | None = None
        self._pid = 0
        self._socket: socket.socket | None = None
        self._policy: Policy | None = None
        self._loaded: OrderedDict[Task, int] = OrderedDict()
        self._limited = (
            0,
            0,
            0,
            0,
        )  # limit, memory in use when it was set, shared memory and models allowed for
        self._numbers = count(1)
        self.starts = 0
        if warm is not None:
            self._ready(warm)

    @property
    def pid(self) -> int:
        """Number of the process; 0 if there is none."""
        return self._pid

    def call(self, task: Task, inputs: dict[str, Any], limits: Limits) -> Ended:
        """As `workers.Worker.call`."""
        with self._lock:
            self._running, self._why = True, None
        try:
            ended = self._call(task, inputs, limits)
        finally:
            with self._lock:
                self._running = False
                why = self._why
        if why is not None:
            self._end()  # the signal may still be on its way
            return failed(why, ERRORS[why].__name__, _WHAT.get(why, why.value), logs=ended.logs)
        return ended

    def _call(self, task: Task, inputs: dict[str, Any], limits: Limits) -> Ended:
        message = None
        try:
            channel = self._ready(task.policy)
            number, load = self._number(task)
            message = wire.Message((number, inputs, limits.output_bytes))
            self._limit(int(limits.memory_mb * (1 << 20)), sum(os.fstat(fd).st_size for fd in message.files))
            if load is not None:
                wire.send(channel, LOAD, load)
            wire.send_message(channel, CALL, message)
            return self._ended(channel)
        except (PolicyError, PackageError) as error:
            return Ended(Outcome.REFUSED, None, error)
        except _ProtocolError as error:
            self._end()
            return failed(Outcome.LOST, "WorkerLost", f"the task's process sent what cannot be read: {error}")
        except InputError as error:
            return failed(Outcome.ERROR, "InputError", str(error))
        except _Died as error:
            return self._lost(error.status)
        except (OSError, EOFError) as error:
            return self._lost(self._status(), str(error))
        finally:
            if message is not None:
                message.close()

    def _limit(self, memory: int, mapped: int) -> None:
        size, data = sandbox.memory_of(self._pid)
        had, at, *allowed = self._limited
        shared = models.nbytes()
        if memory == had and allowed == [mapped, shared] and abs(data - at) < _SLACK:
            return
        sandbox.limit_memory(self._pid, memory, mapped=mapped, shared=shared, size=size, data=data)
        self._limited = memory, data, mapped, shared

    def _ready(self, policy: Policy) -> socket.socket:
        if self._socket is not None and policy == self._policy:
            return self._socket
        self._end()
        pid, pidfd, channel = SERVERS[policy.numpy].fork()
        with self._lock:
            self._pid, self._pidfd, self._socket = pid, pidfd, channel
            if self._why is not None:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._policy = policy
        self.starts += 1
        wire.send(channel, SETUP, _plain(policy))
        problems = _received(channel)
        if problems:
            self._end()
            raise PolicyError(
                "PolicyError",
                f"this machine cannot keep what the policy asks for: {'; '.join(map(str, problems))}",
            )
        return channel

    def _number(self, task: Task) -> tuple[int, Any]:
        """The task's number in the process, and what to send first if it is not loaded there."""
        number = self._loaded.get(task)
        if number is not None:
            self._loaded.move_to_end(task)
            return number, None
        if len(self._loaded) >= MAX_LOADED:
            assert self._socket is not None
            _, old = self._loaded.popitem(last=False)
            wire.send(self._socket, FORGET, old)
        source = task.source
        if isinstance(source, Package):
            source = {
                name: source.payload(name) for name in ("main", *(m for m in source.modules if m != "main"))
            }
        elif not isinstance(source, (str, bytes)):
            raise InputError(
                f"task {task.name!r}: its source is a {type(source).__name__}, not text or a Package"
            )
        number = self._loaded[task] = next(self._numbers)
        return number, (number, task.name, source, task.entry, task.seed)

    def _ended(self, channel: socket.socket) -> Ended:
        found = _received(channel)
        try:
            outcome, value, error, logs = found
            outcome = Outcome(outcome)
            made = None if error is None else ERRORS[outcome](*(str(part) for part in error))
        except (TypeError, ValueError, KeyError) as error:
            raise _ProtocolError(f"no answer of a run: {error}") from error
        return Ended(outcome, value, made, str(logs))

    def _status(self) -> int | None:
        """How the process ended, if its server still says so."""
        if self._socket is not None:
            self._socket.settimeout(1.0)
            try:
                while True:
                    _received(self._socket)
            except _Died as died:
                return died.status
            except (OSError, EOFError, _ProtocolError):
                pass
        return None

    def _lost(self, status: int | None, more: str = "") -> Ended:
        self._end()
        text = "the task's process ended"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                text += f" by signal {signal.Signals(-status).name}"
        elif status is not None:
            text += f" with status {status}"
        return failed(Outcome.LOST, "WorkerLost", text + (f" ({more})" if more and status is None else ""))

    def kill(self, why: Outcome) -> None:
        """Ends the process of the run in progress; the worker makes another for the next run."""
        with self._lock:
            if not self._running:
                return
            self._why = self._why or why
            if self._pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _end(self) -> None:
        with self._lock:
            pidfd, self._pidfd, self._pid = self._pidfd, -1, 0
        if pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._policy = None
        self._limited = 0, 0, 0, 0
        self._loaded.clear()

    def close(self) -> None:
        """Ends the process."""
        self._end()


def _plain(policy: Policy) -> dict[str, Any]:
    imports = None if policy.imports is None else sorted(policy.imports)
    return {
        "imports": imports, "read": policy.read, "write": policy.write, "network": policy.network,
        "numpy": policy.numpy, "untrusted": policy.untrusted, "confined": policy.confined,
    }  # fmt: skip
