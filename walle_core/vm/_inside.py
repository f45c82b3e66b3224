"""What a worker process does: it shuts itself in, then loads and calls tasks for its host, one after the other."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections import deque
from pathlib import Path
from types import CodeType
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError
from walle_core.vm import _seccomp, _system, allow, models, sandbox, wire
from walle_core.vm.guest import Guest, PolicyError
from walle_core.vm.package import load as load_code
from walle_core.vm.types import Policy
from walle_core.vm.wire import ANSWER, ASK, CALL, LOAD, MODEL, SETUP

COLLECT = 64  # tasks that are forgotten between two collections of garbage
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9

Names = dict[str, Any]
Answer = tuple[str, Any, tuple[str, str, str] | None, str]  # outcome, value, (type, text, traceback), logs


class Journal:
    """What tasks have changed in the namespaces of modules, found by comparing these with what they were."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], tuple[Names, str, Any]] = {}
        self._first: dict[int, tuple[Names, Names]] = {}

    def watch(self, space: Names) -> None:
        """Notes what the namespace of a module that tasks may import holds now."""
        if id(space) not in self._first and _reachable(str(space.get("__name__"))):
            self._first[id(space)] = space, dict(space)

    def look(self) -> None:
        """Fills `found`."""
        for space, first in self._first.values():
            for name, value in space.items():
                if first.get(name, ...) is not value:
                    self.found.setdefault((id(space), name), (space, name, first.get(name, ...)))
            if len(space) < len(first) or any(name not in space for name in first):
                for name in first.keys() - space.keys():
                    self.found.setdefault((id(space), name), (space, name, first[name]))


_REACHABLE = allow.granted(Policy(network=True, numpy=True)) | allow._FILES | {"sys"}


def _reachable(module: str) -> bool:
    """Each object of a watched namespace is touched, and its memory no longer shared with the other processes: few are."""
    top, _, rest = module.partition(".")
    if top in {"walle_core", "numpy"}:
        return not rest or (top == "walle_core" and allow.allowed(module, _REACHABLE))
    return top in _REACHABLE


class Inside:
    """Tasks of one worker process. Made before it is forked: what this touches is then shared.

    Attributes:
        policy: what its tasks may do.
    """

    def __init__(self) -> None:
        self.journal = Journal()
        self.guest = Guest({}, self.journal.watch, self.journal.found)
        self.tasks: dict[int, int | Answer] = {}
        self.policy = Policy()
        self.forgotten = 0

    def checked(self, name: str, source: str | bytes) -> CodeType:
        """The compiled source of a task, if its policy grants what it does."""
        code = compile(source, f"<task {name}>", "exec", dont_inherit=True)
        refused = allow.check_source(source, self.policy, name=name)
        if refused:
            raise PolicyError(f"{name}: " + "; ".join(map(str, refused[:5])))
        return code

    def load(self, number: int, name: str, source: Any, entry: str, seed: int | None) -> None:
        """Executes a task's module. If that fails, every call of the task ends so."""
        self.switch(-1)
        self.guest.limit[0] = 1 << 20
        try:
            if isinstance(source, dict):
                code, *rest = [load_code(payload, f"<task {name}>") for payload in source.values()]
                modules = dict(zip(list(source)[1:], rest, strict=True))
            else:
                code, modules = self.checked(name, source), {}
            grants = {
                "imports": allow.granted(self.policy), "core": allow._CORE, "read": self.policy.read,
                "write": self.policy.write, "modules": modules,
            }  # fmt: skip
            self.tasks[number] = self.guest.load(name, code, entry, grants, seed)
        except BaseException as error:
            kind, *what = self.guest.describe(error)
            self.tasks[number] = (kind, None, (what[0], what[1], what[2]), self.guest.drain())

    def switch(self, index: int) -> None:
        """Another task's state, or none's, in the place of the current one's."""
        if index != self.guest.current:
            self.journal.look()
            self.guest.switch(index)

    def call(self, number: int, inputs: Names, output_bytes: int) -> Answer:
        """One run."""
        index = self.tasks[number]
        if isinstance(index, tuple):
            return index
        self.switch(index)
        bad, value, logs = self.guest.run(index, inputs, output_bytes)
        if not bad:
            return "ok", value, None, logs
        kind, *error = value
        if kind == "memory":
            value = None
            self.guest.tidy()
        return kind, None, (error[0], error[1], error[2]), logs

    def forget(self, number: int) -> None:
        """Unloads a task."""
        index = self.tasks.pop(number)
        if isinstance(index, int):
            self.switch(-1)
            self.guest.forget(index)
        self.forgotten += 1
        if (
            self.forgotten % COLLECT == 0
        ):  # namespaces are cycles, which would wait until a quarter more has gathered
            gc.collect()


def serve(channel: socket.socket, inside: Inside) -> None:
    """Until the host closes the channel."""
    known = _seccomp.numbers()
    if known:
        _system.call(known["prctl"], _PR_SET_PDEATHSIG, _SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    kind, grants = wire.receive(channel)
    if kind != SETUP:
        return
    inside.policy = Policy(**grants)
    wire.send(channel, ANSWER, _shut_in(inside.policy))
    waiting: deque[tuple[int, Any]] = deque()  # frames that came before the model that was asked for

    def ask(name: str) -> Tensor | None:
        wire.send(channel, ASK, name)
        while True:
            kind, found = wire.receive(channel)
            if kind == MODEL:
                return found if isinstance(found, Tensor) else None
            waiting.append((kind, found))

    models.asking(ask)
    try:
        while True:
            kind, what = waiting.popleft() if waiting else wire.receive(channel)
            if kind == CALL:
                _answer(channel, inside.call(*what))
            elif kind == LOAD:
                inside.load(*what)
            else:
                inside.forget(what)
    except (EOFError, ConnectionError):
        return


def _shut_in(policy: Policy) -> list[str]:
    places = [p for p in (*policy.write, *policy.read) if Path(p).is_dir()]
    os.chdir(places[0] if places else "/")
    sandbox.limit_process(files=512)
    kept = sandbox.enter_process(policy)
    return list(kept.missing) if policy.untrusted else []


def _answer(channel: socket.socket, answer: Answer) -> None:
    outcome, value, error, logs = answer
    try:
        wire.send(channel, ANSWER, (outcome, value, error, logs))
    except InputError as problem:
        wire.send(channel, ANSWER, ("error", None, ("InputError", f"the result: {problem}", ""), logs))
    except MemoryError:
        del value
        wire.send(channel, ANSWER, ("memory", None, ("MemoryError", "while the result was sent", ""), logs))


if sys.platform != "linux":  # pragma: no cover
    raise ImportError("worker processes of tasks need Linux: memory files, pidfds and prctl")
