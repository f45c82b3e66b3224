"""The larger models that answer: a function, a model file, or the folder of a task."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from walle_core.errors import WalleError
from walle_deploy.errors import CloudError
from walle_deploy.task.config import FILE, parse

Model = Callable[[list[dict[str, Any]]], Sequence[Any]]
"""Inputs of several samples -> the answer to each: plain values and tensors. It can be pickled if it is to run elsewhere."""


@attrs.frozen
class SessionModel:
    """A model file. Samples of one shape run together, along the first axis, where the model leaves its size open.

    Answers are the outputs by name.

    Attributes:
        path: of the file.
        names: input of the sample -> input of the model; by default they have the same names, or each has only one.
        backend, threads: of the Session.
    """

    path: str
    names: tuple[tuple[str, str], ...] = ()
    backend: str | None = None
    threads: int = 2

    def __call__(self, inputs: list[dict[str, Any]]) -> Sequence[Any]:
        """See `Model`."""
        session = _session(self.path, self.backend, self.threads)
        return run_together(session, [self._named(one, session) for one in inputs])

    def _named(self, given: Mapping[str, Any], session: Any) -> dict[str, Any]:
        known, names = session.inputs, dict(self.names)
        if not names and len(known) == len(given) == 1:
            names = {next(iter(given)): next(iter(known))}
        return {
            names.get(name, name): value for name, value in given.items() if not self.names or name in names
        }


def run_together(session: Any, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a Session answers to each of the inputs, with as few runs as their shapes and the model allow."""
    import numpy as np

    from walle_core import Tensor

    answers: list[dict[str, Any]] = [{} for _ in inputs]
    groups: dict[Any, list[int]] = {}
    for number, one in enumerate(inputs):
        key = tuple((name, tuple(np.shape(value))) for name, value in sorted(one.items()))
        groups.setdefault(key if _is_open(session, one) else number, []).append(number)
    for members in groups.values():
        some = [inputs[number] for number in members]
        if len(some) == 1 and not _is_open(session, some[0]):
            answers[members[0]] = dict(session.run(some[0]))
            continue
        flat = {name: _whole(session, name, value) for name, value in some[0].items()}
        join = {
            name: (np.concatenate if flat[name] else np.stack)([np.asarray(one[name]) for one in some])
            for name in some[0]
        }
        found = {name: np.asarray(value) for name, value in session.run(join).items()}
        if any(value.ndim == 0 or len(value) != len(some) for value in found.values()):
            raise CloudError(
                "the model's outputs have no first axis for the samples; give it one, or a function"
            )
        for place, number in enumerate(members):
            answers[number] = {
                name: Tensor.of(
                    np.ascontiguousarray(value[place : place + 1] if any(flat.values()) else value[place])
                )
                for name, value in found.items()
            }
    return answers


def _is_open(session: Any, inputs: Mapping[str, Any]) -> bool:
    """Whether the model takes any number of such samples at once."""
    for name, value in inputs.items():
        spec, shape = session.inputs.get(name), tuple(getattr(value, "shape", ()))
        if spec is None or spec.shape is None or not spec.shape or isinstance(spec.shape[0], int):
            return False
        if len(shape) != len(spec.shape) - 1 and not (len(shape) == len(spec.shape) and shape[0] == 1):
            return False
    return bool(inputs)


def _whole(session: Any, name: str, value: Any) -> bool:
    """Whether a sample has the axis of samples itself, of size 1."""
    return len(value.shape) == len(session.inputs[name].shape)


@attrs.frozen
class ScriptModel:
    """The folder of a task, whose entry is called once for each sample. Answers are what it returns, as declared.

    It runs without the limits of a device; give the service an executor of processes to keep it apart.
    """

    folder: str

    def __call__(self, inputs: list[dict[str, Any]]) -> Sequence[Any]:
        """See `Model`."""
        entry, models, outputs = _script(self.folder)
        answers = []
        for one in inputs:
            found = entry(**one, **models)
            if not isinstance(found, dict) or not outputs <= found.keys():
                raise CloudError(f"{self.folder}: the entry did not return {', '.join(sorted(outputs))}")
            answers.append({name: found[name] for name in outputs})
        return answers


def model_of(where: str) -> Model:
    """The model that a text names: a task's folder, a model file, or ``module:function``. Raises CloudError."""
    path = Path(where)
    if path.is_dir():
        _config(where)
        return ScriptModel(where)
    if path.is_file():
        return SessionModel(where)
    module, colon, name = where.partition(":")
    if not colon:
        raise CloudError(f"{where}: no such file or folder; a function is named as module:function")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CloudError(f"{where}: {error}") from error
    if not callable(found):
        raise CloudError(f"{where}: is no function")
    made: Model = found
    return made


@cache
def _session(path: str, backend: str | None, threads: int) -> Any:
    from walle_core import Session

    return Session(path, backend=backend, threads=threads)


def _config(folder: str) -> Any:
    path = Path(folder) / FILE
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise CloudError(f"{path}: cannot be read: {error.strerror}") from error


@cache
def _script(folder: str) -> tuple[Any, dict[str, Any], frozenset[str]]:
    """Entry, models as the entry wants them, and names of outputs; of a process for ever."""
    from walle_deploy.task import inside
    from walle_deploy.task.dryrun import request

    config = _config(folder)
    what = request(config, Path(folder).resolve())
    if what["folder"] not in sys.path:
        sys.path.insert(0, what["folder"])
    try:
        models = {"models": inside.models(what)} if what["wants_models"] else {}
        entry = inside.entry_of(what)
    except WalleError:
        raise
    except Exception as error:
        raise CloudError(
            f"{folder}: {inside.text_of(error)} {inside.line_of(error, what)}".rstrip()
        ) from error
    return entry, models, frozenset(config.outputs)
