"""A version made ready for runs on this machine: its files in a folder, its walle.toml, and its inputs that are no events."""

from __future__ import annotations

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
from walle_deploy.manifest import Manifest
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

    @property
    def folder(self) -> Path:
        """Of its files."""
        return self.loaded.version.folder


@contextmanager
def prepared(side: str, files: Mapping[str, bytes]) -> Iterator[Prepared]:
    """Writes a version into a folder that lasts as long as the context. Raises TaskError if the files make no task."""
    check_paths(files)
    with tempfile.TemporaryDirectory(prefix="walle-simulate-") as made:
        folder = Path(made).resolve()
        for path, data in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        yield in_folder(side, folder)


def in_folder(side: str, folder: Path) -> Prepared:
    """A version whose files lie there. Raises TaskError if they make no task."""
    if not (folder / FILE).is_file():
        raise TaskError(f"{FILE} is missing; `walle task init NAME` writes an example")
    config = parse((folder / FILE).read_bytes())
    manifest = Manifest.of(config.task.name, side, ())
    loaded = Loaded(config.task.name, 0, Version(manifest, manifest.digest, folder), config)
    return Prepared(side, loaded, _others(folder, config))


def _others(folder: Path, config: TaskConfig) -> dict[str, Any]:
    path = config.task.sample
    sample: dict[str, Any] = {}
    if path is not None:
        try:
            sample = msgspec.json.decode((folder / path).read_bytes(), type=dict[str, Any])
        except OSError as error:  # no file, or a folder
            raise TaskError(
                f"{FILE}, task.sample: there is no file {path!r}; add it, or correct the path"
            ) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise TaskError(f"{path}: no JSON object: {error}; write inputs by name") from error
    declared = msgspec.to_builtins(config.inputs)
    try:
        made, _ = inputs_of({"inputs": declared, "sample": sample, "events": []})
    except Exception as error:  # a sample may hold anything
        raise TaskError(f"{path}: {error}; correct the sample") from error
    return {name: value for name, value in made.items() if declared[name]["dtype"] != EVENTS}
