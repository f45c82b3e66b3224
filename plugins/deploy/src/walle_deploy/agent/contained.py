"""The agent's side of a task's process: starts it, asks it, and ends it when it breaks a limit."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from walle_deploy.agent.container import LENGTH, MAX_RESULT
from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.loaded import Loaded
from walle_deploy.errors import TaskError
from walle_deploy.task.dryrun import START_S, request
from walle_deploy.task.packing import pack, unpack
from walle_deploy.task.process import kill, start

FIRST_S = (
    2.0  # seconds that the first run of a process may take beyond its limit: modules and plans are made in it
)
MAX_INPUTS = 16 << 20  # bytes of the inputs of a run
KINDS = ("start", "raised", "time", "memory", "died", "outputs", "features", "inputs", "answer")
_END_S = 5.0  # seconds that the system may take to end a killed process


@attrs.frozen
class Run:
    """How a run went.

    Attributes:
        why: what went wrong; "" if nothing did.
        ms: how long the entry took, in the process, or how long it was waited for.
        memory_mb: by how much the process has grown, at most, since it was ready.
        result: what the entry returned; tensors as those of walle_core.
        started: whether the process ran; if not, it could not be made ready.
        inputs: what the entry was called with.
        kind: of what went wrong, one of KINDS; "" if nothing did, or it was not the process.
    """

    why: str = ""
    ms: float = 0.0
    memory_mb: float = 0.0
    result: Mapping[str, Any] = attrs.field(factory=dict)
    started: bool = True
    inputs: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    kind: str = ""

    @property
    def failed(self) -> bool:
        """Whether something went wrong."""
        return bool(self.why)


class Container:
    """A process that runs one version of a task, run after run. For one thread: the process ends with it.

    Args:
        loaded: the version.
        start_s: seconds for the interpreter, the models and the script's import.
        first_s: seconds that the first run of a process may take beyond its limit: modules and plans are made in it.
    """

    def __init__(self, loaded: Loaded, start_s: float = START_S, first_s: float = FIRST_S) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise AgentError("tasks run in processes of their own, which needs POSIX")
        self.loaded = loaded
        self._resources = loaded.config.resources
        self._start_s, self._first_s = start_s, first_s
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._first = True
        self._how = ""
        self._ending = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether there is a process that is ready."""
        return self._process is not None

    def start(self) -> str:
        """Starts the process, unless it runs. What went wrong; "" if it is ready."""
        if self._process is not None:
            return ""
        ours, theirs = socket.socketpair()
        program = Path(__file__).with_name("container.py")
        try:
            with theirs:
                theirs.set_inheritable(True)
                self._process = start(program, str(theirs.fileno()), keep=(theirs.fileno(),))
        except OSError as error:
            ours.close()
            return f"its process cannot be started: {error}"
        self._channel, self._first = ours, True
        seconds = 4 * self._resources.time_ms / 1000 + 10
        what = request(self.loaded.config, self.loaded.version.folder) | {"seconds": seconds}
        answer = self._ask(json.dumps(what).encode(), self._start_s)
        if isinstance(answer, dict) and answer.get("phase") == "ready":
            return ""
        self.close()
        return answer if isinstance(answer, str) else _said(answer, "before it was ready")

    def run(self, inputs: Mapping[str, Any]) -> Run:
        """Calls the entry once. Never raises for what the task does: that is a failed run, and a new process next time."""
        if problem := self.start():
            return Run(problem, started=False, kind="start")
        try:
            data = pack(dict(inputs))
        except TaskError as error:
            return Run(f"the inputs: {error}", kind="inputs")
        if len(data) > MAX_INPUTS:
            return Run(f"inputs of {len(data)} bytes; at most {MAX_INPUTS} are taken", kind="inputs")
        limit = self._resources.time_ms / 1000 + (self._first_s if self._first else 0)
        begun, self._first = time.perf_counter(), False
        answer = self._ask(data, limit)
        waited = (time.perf_counter() - begun) * 1e3
        try:
            if isinstance(answer, str):
                return Run(answer, waited, kind=self._how)
            if "error" in answer:
                kind = "memory" if str(answer["error"]).startswith("MemoryError") else "raised"
                return Run(_said(answer, "while the entry ran"), waited, kind=kind)
            return self._read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.close()
            return Run(f"its process answers nonsense: {error!r}"[:200], waited, kind="answer")

    def _read(self, answer: Mapping[str, Any]) -> Run:
        ms, memory, wrong = float(answer["ms"]), float(answer["memory_mb"]), answer["wrong"]
        result = answer["result"]
        if not isinstance(result, dict):
            raise TypeError("no result")
        if wrong:
            kind = "features" if all(where.startswith("features") for where, _ in wrong) else "outputs"
            return Run("; ".join(f"{where}: {what}" for where, what in wrong)[:500], ms, memory, kind=kind)
        if memory > self._resources.memory_mb:
            self.close()
            why = f"it took {memory:.0f} MB; {self._resources.memory_mb} are allowed"
            return Run(why, ms, memory, kind="memory")
        return Run("", ms, memory, result)

    def _ask(self, data: bytes, seconds: float) -> dict[str, Any] | str:
        """The answer to a message, or how the process ended, of the kind `_how`."""
        assert self._channel is not None
        self._how = "answer"
        deadline = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(LENGTH.pack(len(data)) + data)
            (size,) = LENGTH.unpack(self._receive(LENGTH.size, deadline))
            if size > MAX_RESULT:
                self.close()
                return f"an answer of {size} bytes; at most {MAX_RESULT} are taken"
            answer = unpack(self._receive(size, deadline))
            if not isinstance(answer, dict):
                raise TaskError("no table")
        except TimeoutError:
            self.close()
            self._how = "time"
            return f"it was still running after {seconds * 1000:.0f} ms"
        except OSError:
            self._how = "died"
            return self._ended()
        except TaskError as error:
            self.close()
            return f"its process answers nonsense: {error}"
        return answer

    def _receive(self, size: int, deadline: float) -> bytes:
        assert self._channel is not None
        parts = bytearray()
        while len(parts) < size:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self._channel.recv(min(size - len(parts), 1 << 16))
            if not part:
                raise ConnectionResetError
            parts += part
            if time.monotonic() > deadline:
                raise TimeoutError
        return bytes(parts)

    def _ended(self) -> str:
        """How the process ended, that closed its socket."""
        status = self.close()  # one that has begun to end keeps its status
        if status is None or status == -signal.SIGKILL:
            return "the process was killed, perhaps for want of memory, or it closed its socket"
        if status < 0:
            known = -status in set(signal.Signals)
            return (
                f"the process was ended by {signal.Signals(-status).name if known else f'signal {-status}'}"
            )
        return f"the process ended by itself with status {status}"

    def interrupt(self) -> None:
        """Ends what runs now; any thread may call it."""
        with self._ending:
            if self._process is not None:
                kill(self._process)

    def close(self) -> int | None:
        """Ends the process and all that it has started; the next run starts another. The status, if it is known."""
        with self._ending:
            process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is None:
            return None
        kill(process)  # before it is waited for: then its number may be that of another one
        with contextlib.suppress(
            subprocess.TimeoutExpired
        ):  # it hangs in the system: nothing more can be done
            return process.wait(_END_S)
        return None


def _said(answer: Mapping[str, Any], when: str) -> str:
    where = f"{answer['line']}: " if answer.get("line") else ""
    return f"{where}{answer.get('error', 'no answer')}, {when}"[:500]
