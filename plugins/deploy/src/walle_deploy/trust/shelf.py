"""The files of an image repository: what is published, what is staged, and who must sign each."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Role, Root, TargetFile  # type: ignore[attr-defined]
from tuf.api.serialization.json import JSONSerializer

from walle_deploy.errors import TrustError
from walle_deploy.trust.images import ISSUED
from walle_deploy.trust.keys import PublicKey, SigningKey, write_durably
from walle_deploy.trust.verify import Clock

TOP = ("root", "targets", "snapshot", "timestamp")
_DAY = 86_400
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)


@attrs.frozen
class Lifetimes:
    """Seconds after which each file expires; what is signed offline lives longer."""

    root: int = 365 * _DAY
    targets: int = 90 * _DAY
    snapshot: int = 7 * _DAY
    timestamp: int = _DAY

    def of(self, role: str) -> int:
        """The lifetime of a role; a delegated one lives as long as targets."""
        return int(getattr(self, role if role in TOP else "targets"))


def _keys(keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    return tuple(keys)


@attrs.frozen
class RoleKeys:
    """Who may sign for a role, and how many of them must."""

    keys: tuple[PublicKey, ...] = attrs.field(converter=_keys)
    threshold: int = 1

    def __attrs_post_init__(self) -> None:
        if len(set(self.keys)) != len(self.keys):
            raise TrustError("a key is named twice for one role; it would count twice")
        if not 1 <= self.threshold <= len(self.keys):
            raise TrustError(f"{self.threshold} of {len(self.keys)} keys can never sign")


class Shelf:
    """Published metadata of each role (``metadata``), and the next version of some (``staged``)."""

    def __init__(self, folder: Path, lifetimes: Lifetimes | None = None, clock: Clock = time.time) -> None:
        self.folder = folder
        self.lifetimes = lifetimes or Lifetimes()
        self._clock = clock

    def staged_path(self, role: str) -> Path:
        """Where the next version of a role waits for signatures. Raises TrustError for what cannot name a role."""
        if not _ROLE.fullmatch(role):
            raise TrustError(f"{role[:80]!r}: there is no such role")
        return self.folder / "staged" / f"{role}.json"

    def staged(self, role: str) -> Metadata[Any] | None:
        """The next version of a role, or None."""
        path = self.staged_path(role)
        return _load(path) if path.exists() else None

    def newest_path(self, role: str) -> Path | None:
        """The published file of a role with the highest version."""
        if role == "timestamp":
            path = self.folder / "metadata" / "timestamp.json"
            return path if path.exists() else None
        found = {}
        for path in (self.folder / "metadata").glob(f"*.{role}.json"):
            if match := re.fullmatch(rf"([1-9][0-9]*)\.{re.escape(role)}\.json", path.name):
                found[int(match[1])] = path
        return found[max(found)] if found else None

    def published(self, role: str) -> Metadata[Any] | None:
        """The published metadata of a role, or None."""
        path = self.newest_path(role)
        return None if path is None else _load(path)

    def current(self, role: str) -> Metadata[Any]:
        """What is staged, else what is published. Raises TrustError when there is neither."""
        metadata = self.staged(role) or self.published(role)
        if metadata is None:
            raise TrustError(f"{self.folder}: there is no role {role!r}")
        return metadata

    def stage(self, role: str, metadata: Metadata[Any]) -> None:
        """Put a changed role up for signing: next version, new expiry, no signatures yet."""
        self._next(role, metadata)
        if role == "root":
            metadata.signed.unrecognized_fields[ISSUED] = int(self._clock())
        write_durably(self.staged_path(role), to_bytes(metadata), mode=0o644)

    def signed_by(
        self, role: str, content: Any, root: Metadata[Any], keys: Iterable[SigningKey]
    ) -> Metadata[Any]:
        """The next version of snapshot or timestamp, signed. Raises TrustError when the keys are too few."""
        metadata = Metadata(content)
        self._next(role, metadata)
        who = root.signed.get_delegated_role(role)
        for key in keys:
            if key.public.tuf.keyid in who.keyids:
                metadata.sign(key.tuf, append=True)
        verify(role, metadata, [root.signed])
        return metadata

    def write(self, role: str, metadata: Metadata[Any]) -> None:
        """Publish one file."""
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        write_durably(self.folder / "metadata" / name, to_bytes(metadata), mode=0o644)

    def delegators(self, role: str, metadata: Metadata[Any], ready: Mapping[str, Metadata[Any]]) -> list[Any]:
        """Whose thresholds the signatures of a role must meet; for a root, its own and the one before."""
        if role == "root":
            before = self.published("root")
            return [metadata.signed] if before is None else [before.signed, metadata.signed]
        parent = "root" if role in TOP else "targets"
        return [(ready.get(parent) or self.current(parent)).signed]

    def _next(self, role: str, metadata: Metadata[Any]) -> None:
        before = self.published(role)
        metadata.signed.version = 1 if before is None else before.signed.version + 1
        seconds = int(self._clock()) + self.lifetimes.of(role)
        metadata.signed.expires = datetime.fromtimestamp(seconds, UTC)
        metadata.signatures.clear()


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """Metadata as devices fetch it."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def described(metadata: Metadata[Any]) -> MetaFile:
    """Version, length and digest of a file, as snapshot and timestamp name it."""
    return MetaFile.from_data(metadata.signed.version, to_bytes(metadata), ["sha256"])


def verify(role: str, metadata: Metadata[Any], delegators: Iterable[Any]) -> None:
    """Whether every delegator's threshold is met. Raises TrustError with what is missing."""
    for delegator in delegators:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        if not result:
            raise TrustError(
                f"{role}: signed by {len(result.signed)} of the {result.threshold} keys that it needs"
                + (f" (root version {delegator.version})" if isinstance(delegator, Root) else "")
            )


def public_keys(root: Root, role: str) -> list[PublicKey]:
    """The keys of a top-level role."""
    return [PublicKey(bytes.fromhex(str(root.keys[id_].keyval["public"]))) for id_ in root.roles[role].keyids]


def give_keys(root: Root, role: str, who: RoleKeys) -> None:
    """Replace the keys and the threshold of a top-level role."""
    for id_ in list(root.roles[role].keyids):
        root.revoke_key(id_, role)
    root.roles[role] = Role([], who.threshold)
    for key in who.keys:
        root.add_key(key.tuf, role)


def store_target(folder: Path, target: TargetFile, content: bytes) -> None:
    """Put a target where devices look for it: its digest is part of its name."""
    path = folder / "targets" / target.get_prefixed_paths()[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content, mode=0o644)


def _load(path: Path) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(path.read_bytes())
    except (OSError, RepositoryError) as error:
        raise TrustError(f"{path}: not metadata: {error}") from error
