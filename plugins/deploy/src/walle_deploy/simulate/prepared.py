"""A version made ready for runs in this process's machine: its files in a folder, its trigger, and its further inputs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec

from walle_deploy.agent.loaded import Loaded
from walle_deploy.errors import TaskError
from walle_deploy.install.versions import Version
from walle_deploy.manifest import File, Manifest
from walle_deploy.task.config import FILE, TaskConfig, parse
from walle_deploy.task.inside import inputs_of
from walle_deploy.task.tree import check_paths
from walle_deploy.task.values import EVENTS

NEW, OLD = "new", "old"


@attrs.frozen
class Prepared:
    """A version whose files lie in a folder.

    Attributes:
        side: NEW or OLD.
        loaded: it, as the agent has it.
        others: inputs that are no events, of the sample or zeros.
    """

    side: str
    loaded: Loaded
    others: Mapping[str, Any]

    @property
    def config(self) -> TaskConfig:
        """Its walle.toml."""
        return self.loaded.config

    def inputs(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """What the entry is called with for a match of these events."""
        declared = self.config.inputs.items()
        return {**self.others, **{name: events for name, value in declared if value.dtype == EVENTS}}


@contextmanager
def prepared(side: str, files: Mapping[str, bytes]) -> Iterator[Prepared]:
    """Writes a version into a folder that lasts as long as the context. Raises TaskError if the files make no task."""
    with tempfile.TemporaryDirectory(prefix="walle-simulate-") as made:
        folder = Path(made).resolve()
        check_paths(files)
        if FILE not in files:
            raise TaskError(f"{FILE} is missing; `walle task init NAME` writes an example")
        config = parse(files[FILE])
        for path, data in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        yield Prepared(side, _loaded(side, files, folder, config), _others(files, config))


def _loaded(side: str, files: Mapping[str, bytes], folder: Path, config: TaskConfig) -> Loaded:
    listed = (File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items())
    manifest = Manifest.of(config.task.name, side, listed)
    return Loaded(config.task.name, 0, Version(manifest, manifest.digest, folder), config)


def _others(files: Mapping[str, bytes], config: TaskConfig) -> dict[str, Any]:
    path = config.task.sample
    sample: dict[str, Any] = {}
    if path is not None:
        if path not in files:
            raise TaskError(f"{FILE}, task.sample: there is no file {path!r}; add it, or correct the path")
        try:
            sample = msgspec.json.decode(files[path], type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TaskError(f"{path}: no JSON object: {error}; write inputs by name") from error
    declared = msgspec.to_builtins(config.inputs)
    try:
        made, _ = inputs_of({"inputs": declared, "sample": sample, "events": []})
    except Exception as error:  # a sample may hold anything
        raise TaskError(f"{path}: {error}; correct the sample") from error
    return {name: value for name, value in made.items() if declared[name]["dtype"] != EVENTS}
