"""walle.toml: what a task is called, when it runs, what goes in and comes out, and what it may use."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from walle_deploy.errors import TaskError
from walle_deploy.task.structure import Problem, problems
from walle_deploy.task.trigger import TriggerText
from walle_deploy.task.values import EVENTS, FEATURE_TYPES, JSON, Name, TaskName, Text, Value, relative

FILE = "walle.toml"
MAX_BYTES = 1 << 20
RESERVED_INPUTS, RESERVED_OUTPUTS = ("models",), ("features", "confident")


class TaskText(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The task itself.

    Attributes:
        script: file of the entry function.
        entry: called with the inputs by name, and with ``models`` (name -> Session) if it has that parameter. Returns a
            dict of the outputs by name; ``features`` in it is the record for the cloud, ``confident`` False asks for it.
        numpy: the script imports NumPy, and so runs in a process of its own.
        modules: further modules that it may import.
        sample: a JSON file of inputs by name for the dry run; without it they are zeros.
        exclusive: patterns of files that only one device may read; ``*`` stands for any text.
    """

    name: TaskName
    description: Text = ""
    script: str = "main.py"
    entry: Name = "main"
    numpy: bool = False
    modules: list[Name] = []
    sample: str | None = None
    exclusive: list[str] = []

    def __post_init__(self) -> None:
        for pattern in self.exclusive:
            relative(pattern)
        relative(self.script)
        if not self.script.endswith(".py"):
            raise ValueError(f"the script must be a .py file, not {self.script!r}")
        if self.sample is not None:
            relative(self.sample)

    def is_exclusive(self, path: str) -> bool:
        """Whether only one device may read a file."""
        return any(fnmatchcase(path, pattern) for pattern in self.exclusive)


class ModelText(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A model file and the signature that it must have."""

    file: str
    inputs: dict[str, Value]
    outputs: dict[str, Value]

    def __post_init__(self) -> None:
        relative(self.file)
        for name, value in (*self.inputs.items(), *self.outputs.items()):
            if not value.is_tensor:
                raise ValueError(f"{name!r} of a model must be a tensor, not {value.dtype}")


class Resources(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What one run may use: time, memory beyond the container's own, and backends (none named: any)."""

    time_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 1000
    memory_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 256
    backends: list[Name] = []


class DictionaryText(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The compression dictionary of the task's features."""

    file: str

    def __post_init__(self) -> None:
        relative(self.file)


class Cloud(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Where a sample goes when the task is not confident.

    Attributes:
        stream: the tunnel's stream that takes the sample.
        send: names of inputs, or ``features``; nothing named: all inputs.
        confidence: the output that holds the confidence, one number; without it the script says ``confident``.
        below: the sample is sent if the confidence is less than this.
        daily: samples of one device and day at most.
    """

    stream: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    send: list[Name] = []
    confidence: Name | None = None
    below: Annotated[float, Meta(gt=0, le=1)] = 0.5
    daily: Annotated[int, Meta(ge=1, le=1_000_000)] = 100


class TaskConfig(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """All of walle.toml."""

    task: TaskText
    trigger: TriggerText
    inputs: dict[Name, Value] = {}
    outputs: dict[Name, Value] = {}
    model: dict[Name, ModelText] = {}
    features: dict[Name, str] = {}
    resources: Resources = Resources()
    dictionary: DictionaryText | None = None
    cloud: Cloud | None = None


def find_problems(text: str | bytes) -> tuple[TaskConfig | None, list[Problem]]:
    """The configuration if it can be used, and all that is wrong with it."""
    if len(text) > MAX_BYTES:
        return None, [Problem("", f"found {len(text)} bytes; at most {MAX_BYTES} are read")]
    try:
        raw = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, [Problem("", f"no TOML: {error}")]
    if found := list(problems(raw, TaskConfig)):
        return None, found
    config = msgspec.convert(raw, TaskConfig, strict=True)
    return config, list(_contradictions(config))


def parse(text: str | bytes, where: str = FILE) -> TaskConfig:
    """The configuration in `text`. Raises TaskError that names the file and every field that is wrong, and how."""
    config, found = find_problems(text)
    if found or config is None:
        raise TaskError("\n".join(f"{where}: {problem}" for problem in found))
    return config


def plain(config: TaskConfig) -> dict[str, Any]:
    """The configuration as plain values, without what has its default."""
    made: dict[str, Any] = msgspec.to_builtins(config)
    return made


def _contradictions(config: TaskConfig) -> Iterator[Problem]:
    for name in RESERVED_INPUTS:
        if name in config.inputs:
            yield Problem(
                f"inputs.{name}", "the name is taken: the entry gets the models by it; choose another"
            )
    for name in RESERVED_OUTPUTS:
        if name in config.outputs:
            yield Problem(f"outputs.{name}", "the name is taken for what goes to the cloud; choose another")
    for name, value in config.outputs.items():
        if value.dtype == EVENTS:
            yield Problem(f"outputs.{name}", f"a task makes no events; wanted a tensor or {JSON}")
    for name, kind in config.features.items():
        if kind not in FEATURE_TYPES:
            yield Problem(f"features.{name}", f"found {kind!r}; wanted one of {', '.join(FEATURE_TYPES)}")
    if config.trigger.manual and any(v.dtype == EVENTS for v in config.inputs.values()):
        yield Problem("trigger.manual", "an input holds the events of a match, but nothing is matched")
    if config.dictionary and not config.features:
        yield Problem("dictionary", "there are no [features] to compress; declare them or leave it out")
    cloud = config.cloud
    if cloud is None:
        return
    known = [*config.inputs, *(["features"] if config.features else [])]
    for number, name in enumerate(cloud.send):
        if name not in known:
            yield Problem(
                f"cloud.send[{number}]", f"found {name!r}; wanted one of {', '.join(known) or 'the inputs'}"
            )
    if cloud.confidence is None:
        return
    held = config.outputs.get(cloud.confidence)
    if held is None:
        known = list(config.outputs)
        text = f"found {cloud.confidence!r}; wanted one of the outputs {', '.join(known)}"
        yield Problem("cloud.confidence", text)
    elif any(size != 1 for size in held.shape or ()) or not held.dtype.startswith(("float", "bfloat", JSON)):
        yield Problem("cloud.confidence", f"found {held}; wanted one number: float32 of shape [], or {JSON}")
