"""What a version consists of: the files that its signed tag names, all of them, and their manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from walle_deploy.errors import TrustError
from walle_deploy.manifest import Digest, File, Manifest
from walle_deploy.task.config import FILE, parse
from walle_deploy.task.repo import Scenario
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.tags import Version, numbers, read_tag


@attrs.frozen
class Built:
    """A version, ready to be published.

    Attributes:
        version: what the tag says, and who signed it.
        tag: the tag object as git keeps it: what was signed, and the signature.
        manifest: of all files.
        files: path -> content.
    """

    version: Version
    tag: bytes = attrs.field(repr=False)
    manifest: Manifest = attrs.field(repr=False)
    files: Mapping[str, bytes] = attrs.field(repr=False)

    def shared(self) -> dict[Digest, bytes]:
        """Content by digest, of the files that every device may read."""
        return {file.sha256: self.files[file.path] for file in self.manifest.files if not file.exclusive}

    def exclusive(self) -> dict[Digest, bytes]:
        """Content by digest, of the files of one device."""
        return {file.sha256: self.files[file.path] for file in self.manifest.files if file.exclusive}


def build(scenario: Scenario, task: str, number: int, allowed: Signers) -> Built:
    """The version that a tag names. Raises TrustError unless an allowed key signed it, DeployError for paths that no
    manifest takes.
    """
    version = scenario.verify(task, number, allowed)
    found, payload, signature = read_tag(scenario.git, task, number)
    if found.commit != version.commit:
        raise TrustError(f"{version.tag}: was moved while it was read; find out by whom, and publish again")
    files = scenario.files_of(version.commit)
    return Built(version, payload + signature, manifest_of(task, number, files), files)


def manifest_of(task: str, number: int, files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a version's files; those that walle.toml calls exclusive are marked."""
    text = parse(files[FILE]).task
    return Manifest.of(
        task,
        f"v{number}",
        (
            File(path, hashlib.sha256(data).hexdigest(), len(data), text.is_exclusive(path))
            for path, data in files.items()
        ),
    )


def before(scenario: Scenario, task: str, number: int, count: int, also: int | None = None) -> list[int]:
    """The last `count` versions before one, and `also`, newest first: what devices have that get this one."""
    known = [each for each in numbers(scenario.git, task) if each < number]
    chosen = known[-count:] if count else []
    if also is not None and also in known and also not in chosen:
        chosen = [also, *chosen]
    return chosen[::-1]
