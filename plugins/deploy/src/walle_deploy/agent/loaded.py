"""An installed version that can run: its files, and what its walle.toml says."""

from __future__ import annotations

import attrs

from walle_deploy.errors import DeployError, TaskError
from walle_deploy.install.versions import Version
from walle_deploy.manifest import Digest
from walle_deploy.task.config import FILE, MAX_BYTES, TaskConfig, parse
from walle_deploy.trust import Installed


@attrs.frozen
class Loaded:
    """A version of a task.

    Attributes:
        task: its name.
        number: of the version.
        version: its verified files.
        config: its walle.toml.
    """

    task: str
    number: int
    version: Version
    config: TaskConfig

    @classmethod
    def of(cls, version: Version) -> Loaded:
        """Reads walle.toml. Raises TaskError if the files do not make the task that the manifest names."""
        manifest, folder = version.manifest, version.folder
        label = f"task {manifest.task!r} {manifest.version}"
        paths = {file.path for file in manifest.files}
        try:
            with (folder / FILE).open("rb") as file:
                config = parse(file.read(MAX_BYTES + 1), f"{label}, {FILE}")
        except OSError as error:
            raise TaskError(f"{label}: {FILE} cannot be read: {error}") from error
        if config.task.name != manifest.task:
            raise TaskError(f"{label}: {FILE} is that of {config.task.name!r}")
        wanted = [config.task.script, *(model.file for model in config.model.values())]
        for path in [*wanted, *([config.dictionary.file] if config.dictionary else [])]:
            if path not in paths:
                raise TaskError(f"{label}: {FILE} names {path!r}, which the manifest does not have")
        return cls(manifest.task, number_of(manifest.version), version, config)

    @property
    def digest(self) -> Digest:
        """Of the manifest."""
        return self.version.digest

    @property
    def name(self) -> str:
        """The version as reports and profiles name it."""
        return self.version.manifest.version

    @property
    def installed(self) -> Installed:
        """As the judgement of answers wants it."""
        return Installed(self.number, bytes.fromhex(self.digest))


def number_of(version: str) -> int:
    """7 of ``v7``. Raises DeployError if it is no such text."""
    digits = version.removeprefix("v")
    if (
        version[:1] != "v"
        or not digits.isascii()
        or not digits.isdigit()
        or len(digits) > 10
        or digits[0] == "0"
    ):
        raise DeployError(f"version {version!r}: wanted v1, v2, …")
    return int(digits)
