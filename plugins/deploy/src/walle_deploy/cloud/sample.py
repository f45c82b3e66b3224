"""A sample that a device sends because its task is not confident: what it holds, and whether it fits what is declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from walle_core.errors import WalleError
from walle_deploy.errors import TaskError
from walle_deploy.task.config import TaskConfig
from walle_deploy.task.packing import unpack
from walle_deploy.task.values import EVENTS, FEATURE_TYPES, JSON, TASK_NAME, Value

MAX_RUN = 256  # characters
_TASK, _VERSION = re.compile(TASK_NAME), re.compile(r"v[1-9][0-9]{0,9}")
_FEATURES = "features"


@attrs.frozen
class Sample:
    """What a device sends.

    Attributes:
        task: that is not confident.
        version: of it, ``v7``.
        run: names the run on the device.
        time: of the run, milliseconds of the device's clock.
        inputs: by name, ``features`` too where they are sent.
        outputs: what the task itself answered.
    """

    task: str
    version: str
    run: str
    time: int
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @classmethod
    def read(cls, payload: bytes) -> Sample:
        """The sample in a payload. Raises TaskError for one that is none."""
        found = unpack(payload)
        if not isinstance(found, dict):
            raise TaskError(f"a sample is a table, not {type(found).__name__}")
        task, version, run, time = (found.get(name) for name in ("task", "version", "run", "time"))
        if not isinstance(task, str) or not _TASK.fullmatch(task):
            raise TaskError(f"task {task!r:.80} is no name of a task")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise TaskError(f"version {version!r:.80}: wanted v1, v2, …")
        if not isinstance(run, str) or len(run) > MAX_RUN or not run.isprintable():
            raise TaskError(f"run {run!r:.80}: wanted at most {MAX_RUN} printable characters")
        if type(time) is not int or not -(1 << 63) <= time < 1 << 63:
            raise TaskError(f"time {time!r:.80}: wanted milliseconds")
        tables = [found.get("inputs"), found.get("outputs", {})]
        for table in tables:
            if not isinstance(table, dict) or not all(isinstance(name, str) for name in table):
                raise TaskError("inputs and outputs of a sample are tables by name")
        return cls(task, version, run, time, *tables)


@attrs.frozen
class Signature:
    """What samples of a task hold.

    Attributes:
        values: input -> what it must be.
        features: name -> kind, where ``features`` are sent; None where they are not.
    """

    values: Mapping[str, Value]
    features: Mapping[str, str] | None = None

    @classmethod
    def of(cls, config: TaskConfig) -> Signature:
        """What the [cloud] of a walle.toml sends. Raises TaskError if there is none."""
        if config.cloud is None:
            raise TaskError(f"task {config.task.name}: its walle.toml has no [cloud]")
        names = config.cloud.send or list(config.inputs)
        values = {name: value for name, value in config.inputs.items() if name in names}
        return cls(values, config.features if _FEATURES in names else None)

    def ready(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs, lists made tensors where those are declared. Raises TaskError if they do not fit."""
        wanted = {*self.values, *([_FEATURES] if self.features is not None else [])}
        if wanted != inputs.keys():
            missing, more = sorted(wanted - inputs.keys()), sorted(inputs.keys() - wanted)
            text = f"{missing[0]!r} is missing" if missing else f"{more[0]!r:.80} is not declared"
            raise TaskError(f"inputs: {text}")
        sizes: dict[str, int] = {}
        made = {name: _ready(name, value, inputs[name], sizes) for name, value in self.values.items()}
        if self.features is not None:
            made[_FEATURES] = _features(self.features, inputs[_FEATURES])
        return made


def _ready(name: str, value: Value, given: Any, sizes: dict[str, int]) -> Any:
    from walle_core import Tensor

    if value.dtype == EVENTS and not (
        isinstance(given, list) and all(isinstance(one, dict) for one in given)
    ):
        raise TaskError(f"input {name!r}: wanted a list of events")
    if value.dtype in (EVENTS, JSON):
        return given
    try:
        tensor = given if isinstance(given, Tensor) else Tensor.of(given, value.dtype)
    except (WalleError, TypeError, ValueError, OverflowError) as error:
        raise TaskError(f"input {name!r} is no tensor: {error}"[:300]) from error
    shape = value.shape or []
    fits = len(shape) == len(tensor.shape) and all(
        size == (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
        for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits or str(tensor.dtype) != value.dtype:
        raise TaskError(f"input {name!r} is {tensor.dtype}{list(tensor.shape)}; {value} is declared")
    return tensor


def _features(declared: Mapping[str, str], found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() != declared.keys():
        raise TaskError(f"features: wanted a table of {', '.join(declared)}")
    for name, kind in declared.items():
        value = found[name]
        wanted = (int, float) if kind == "float" else FEATURE_TYPES[kind]
        if not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool)):
            raise TaskError(f"features.{name}: wanted {kind}, found {type(value).__name__}")
    return found
