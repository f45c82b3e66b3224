"""What a server with the online keys does for an image repository between the signatures of people."""

from __future__ import annotations

import attrs
from tuf.api.metadata import Snapshot  # type: ignore[attr-defined]

from walle_deploy.errors import TrustError
from walle_deploy.trust.images import target_path
from walle_deploy.trust.keys import SigningKey
from walle_deploy.trust.repository import ImageRepository
from walle_deploy.trust.shelf import TOP, described


@attrs.frozen
class Listed:
    """A version as the published metadata lists it: digest of its manifest, and why it is revoked ("" if it is not)."""

    manifest: bytes
    size: int
    revoked: str = ""


def refresh(repository: ImageRepository, *online: SigningKey) -> tuple[str, ...]:
    """Sign snapshot and timestamp again when less than half of their time is left; which ones. Raises TrustError.

    What is published stays as it is, and what is staged stays staged.
    """
    shelf = repository._shelf
    root, snapshot = shelf.published("root"), shelf.published("snapshot")
    if root is None or snapshot is None or shelf.published("timestamp") is None:
        raise TrustError(
            f"{repository.folder}: nothing is published yet; sign what is staged, and publish it"
        )
    if _fresh(repository, "snapshot"):
        if _fresh(repository, "timestamp"):
            return ()
        repository.refresh_timestamp(*online)
        return ("timestamp",)
    again = shelf.signed_by("snapshot", Snapshot(meta=dict(snapshot.signed.meta)), root, online)
    timestamp = repository._timestamp(described(again), root, online)
    shelf.write("snapshot", again)
    shelf.write("timestamp", timestamp)
    return ("snapshot", "timestamp")


def expires(repository: ImageRepository) -> dict[str, float]:
    """When each published role expires, in Unix seconds."""
    found = {name: repository._shelf.published(name) for name in TOP}
    targets = found["targets"]
    delegations = targets.signed.delegations if targets is not None else None
    teams = (delegations.roles if delegations is not None else None) or {}
    found.update({name: repository._shelf.published(name) for name in teams})
    return {name: each.signed.expires.timestamp() for name, each in found.items() if each is not None}


def listed(repository: ImageRepository, task: str, version: int) -> Listed | None:
    """What devices find for a version; None if it is not published. Raises TrustError."""
    path = target_path(task, version)
    for role in ("targets", repository.role_of(path)):  # a word of targets holds over a team's
        published = repository._shelf.published(role)
        target = None if published is None else published.signed.targets.get(path)
        if target is not None:
            custom = target.custom if isinstance(target.custom, dict) else {}
            digest = bytes.fromhex(target.hashes["sha256"])
            return Listed(digest, target.length, str(custom.get("revoked", "")))
    return None


def versions(repository: ImageRepository) -> set[tuple[str, int]]:
    """All versions that are published, revoked ones too."""
    found = set()
    for role in expires(repository):
        published = repository._shelf.published(role)
        for path in getattr(published and published.signed, "targets", ()):
            task, _, number = path.removesuffix(".manifest").rpartition("/")
            if task and number.isdigit():
                found.add((task, int(number)))
    return found


def _fresh(repository: ImageRepository, role: str) -> bool:
    published = repository._shelf.published(role)
    left = 0.0 if published is None else published.signed.expires.timestamp() - repository._clock()
    return left > repository._shelf.lifetimes.of(role) / 2
