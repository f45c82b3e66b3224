"""The image repository behind the API: staged here, signed by keys that are elsewhere, published with the online keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]

from walle_deploy.client.types import Proposal
from walle_deploy.errors import TaskError, TrustError
from walle_deploy.task.lock import locked
from walle_deploy.trust import ImageRepository, SigningKey
from walle_deploy.trust.images import target_path
from walle_deploy.trust.online import Listed, expires, listed, refresh, versions


class Images:
    """An image repository that several workers change, one at a time. Every method raises TrustError.

    Args:
        folder: of the repository.
        online: the keys that sign snapshot and timestamp.
    """

    def __init__(self, folder: Path, online: Sequence[SigningKey]) -> None:
        self.folder = folder
        self._online = tuple(online)
        self._repository = ImageRepository(folder)

    def stage(self, task: str, number: int, manifest: bytes) -> Proposal | None:
        """Lists a version in the next metadata of its role; None if the published one lists it.

        The same version may be staged again: it keeps its signatures. Another one that nobody has signed makes room; one
        that has all its signatures is published.
        """
        with self._alone():
            there = listed(self._repository, task, number)
            if there is None:
                path = target_path(task, number)
                role = self._repository.role_of(path)
                staged = self._beside(role, path)
                if staged is None or staged.hashes != {"sha256": hashlib.sha256(manifest).hexdigest()}:
                    role = self._repository.add(task, number, manifest, role)
                return self._proposal(role)
            if there.revoked or there.manifest != hashlib.sha256(manifest).digest():
                raise TrustError(
                    f"{task} v{number}: listed {f'as revoked: {there.revoked}' if there.revoked else 'with other content'}"
                    "; give it the next number"
                )
            return None

    def revoke(self, task: str, number: int, why: str) -> Proposal:
        """Lists a version as one that must not be installed, in the next metadata of its role."""
        with self._alone():
            path = target_path(task, number)
            role = self._repository.role_of(path)
            staged = self._beside(role, path)
            if staged is None or staged.custom != {"revoked": why}:
                role = self._repository.revoke(task, number, why)
            return self._proposal(role)

    def renew(self, role: str) -> Proposal:
        """Stages what is published of a role again, before it expires."""
        with self._alone():
            self._repository.renew(role)
            return self._proposal(role)

    def sign(self, role: str, keyid: str, signature: bytes) -> str:
        """Adds a signature; how many there are, as "1 of 2"."""
        with self._alone():
            self._repository.attach(role, keyid, signature)
            return self._repository.staged()[role]

    def staged(self) -> dict[str, str]:
        """What waits, and how many of its signatures it has."""
        with self._alone():
            return self._repository.staged()

    def publish(self) -> list[tuple[str, int]]:
        """Publishes what is staged and fully signed; versions that devices find from now on."""
        with self._alone():
            before = versions(self._repository)
            self._repository.publish(*self._online, signed_only=True)
            return sorted(versions(self._repository) - before)

    def refresh(self) -> tuple[str, ...]:
        """Signs snapshot and timestamp again in time; which."""
        with self._alone():
            return refresh(self._repository, *self._online)

    def listed(self, task: str, number: int) -> Listed | None:
        """What devices find for a version; None if it is not published."""
        return listed(self._repository, task, number)

    def versions(self) -> set[tuple[str, int]]:
        """All versions that devices find, revoked ones too."""
        return versions(self._repository)

    def expires(self) -> dict[str, float]:
        """When each published role expires, in Unix seconds."""
        return expires(self._repository)

    def root(self) -> bytes:
        """The newest root, for devices that are made from now on."""
        return self._repository.root()

    def _beside(self, role: str, path: str) -> TargetFile | None:
        """What is staged of a target, after what else was staged in its role has made room. Raises TrustError."""
        shelf = self._repository._shelf
        staged, published = shelf.staged(role), shelf.published(role)
        if staged is None or published is None:
            return None
        old, new = published.signed, staged.signed
        changed = {
            name for name in {*old.targets, *new.targets} if old.targets.get(name) != new.targets.get(name)
        }
        if changed <= {path} or old.delegations != new.delegations:
            return new.targets[path] if path in changed else None
        if not staged.signatures:
            shelf.staged_path(role).unlink()
            return None
        try:
            self._repository.publish(*self._online, signed_only=True)
        except TrustError as error:
            names = ", ".join(sorted(changed))
            raise TrustError(f"{role}: {names} waits for signatures, and comes first: {error}") from error
        return None

    def _proposal(self, role: str) -> Proposal:
        before = self._repository._shelf.newest_path(role)
        return Proposal(
            role=role,
            metadata=self._repository.to_sign(role),
            before=before.read_bytes() if before is not None else b"",
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with locked(self.folder / "lock"):
                yield
        except TaskError as error:
            raise TrustError(str(error)) from error
