"""The maker's side of the image metadata: roles with thresholds, delegations, signing, publishing, rotation (TUF).

Root and targets are signed with keys that stay offline; snapshot and timestamp may be signed by a server. Changes
are staged, signed by as many people as the threshold says, one after the other, and then published. A private key is
an argument, never a file of the repository.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from walle_deploy.errors import TrustError
from walle_deploy.trust.answer import Director
from walle_deploy.trust.images import ISSUED, target_path
from walle_deploy.trust.keys import PublicKey, SigningKey, write_durably
from walle_deploy.trust.shelf import (
    TOP,
    Lifetimes,
    RoleKeys,
    Shelf,
    described,
    give_keys,
    public_keys,
    store_target,
    to_bytes,
    verify,
)
from walle_deploy.trust.verify import Clock

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9*?_./\[\]-]{1,256}", re.ASCII)


class ImageRepository:
    """A folder: ``metadata`` and ``targets`` are for devices, ``staged`` holds what is not fully signed yet."""

    def __init__(self, folder: Path, lifetimes: Lifetimes | None = None, clock: Clock = time.time) -> None:
        """Open one that create has made. Raises TrustError."""
        self.folder = folder
        self._clock = clock
        self._shelf = Shelf(folder, lifetimes, clock)
        if not (folder / "metadata").is_dir() or not (folder / "staged").is_dir():
            raise TrustError(f"{folder}: no image repository; `walle deploy init` makes one")

    @classmethod
    def create(
        cls,
        folder: Path,
        roles: Mapping[str, RoleKeys],
        director: Director,
        lifetimes: Lifetimes | None = None,
        clock: Clock = time.time,
    ) -> ImageRepository:
        """Stage the first root and an empty list of targets; sign both, then publish. Raises TrustError."""
        if (folder / "metadata").exists() or (folder / "staged").exists():
            raise TrustError(f"{folder}: there is an image repository already")
        if set(roles) != set(TOP):
            raise TrustError(f"expected the keys of {', '.join(TOP)}, got {', '.join(sorted(roles))}")
        for sub in ("metadata", "staged", "targets"):
            (folder / sub).mkdir(parents=True)
        root = Root(roles={name: Role([], who.threshold) for name, who in roles.items()})
        for name, who in roles.items():
            give_keys(root, name, who)
        root.unrecognized_fields.update(director.to_root())
        repository = cls(folder, lifetimes, clock)
        repository._shelf.stage("root", Metadata(root))
        repository._shelf.stage("targets", Metadata(Targets()))
        return repository

    # what it says

    def add(self, task: str, version: int, manifest: bytes, role: str | None = None) -> str:
        """List a version by its manifest, in the role that its name is delegated to. Raises TrustError."""
        path = target_path(task, version)
        role = role or self.role_of(path)
        targets = self._shelf.current(role)
        target = TargetFile.from_data(path, manifest, ["sha256"])
        known = targets.signed.targets.get(path)
        if known is not None and known.hashes != target.hashes:
            raise TrustError(
                f"{path}: listed with other content; a version never changes, give it the next number"
            )
        targets.signed.targets[path] = target
        store_target(self.folder, target, manifest)
        self._shelf.stage(role, targets)
        return role

    def revoke(self, task: str, version: int, reason: str, role: str | None = None) -> str:
        """Say that a version must not be installed any more; in ``targets`` this holds over a team's word."""
        path = target_path(task, version)
        role = role or self.role_of(path)
        target = self._shelf.current(self.role_of(path)).signed.targets.get(path)
        if target is None:
            raise TrustError(f"{path}: no role lists it")
        targets = self._shelf.current(role)
        custom = {"custom": {"revoked": reason or "revoked"}}
        targets.signed.targets[path] = TargetFile(target.length, dict(target.hashes), path, custom)
        self._shelf.stage(role, targets)
        return role

    def remove(self, task: str, version: int) -> str:
        """Take a version off the list. Raises TrustError when it is not on it."""
        path = target_path(task, version)
        role = self.role_of(path)
        targets = self._shelf.current(role)
        if targets.signed.targets.pop(path, None) is None:
            raise TrustError(f"{path}: the role {role} does not list it")
        self._shelf.stage(role, targets)
        return role

    def delegate(self, role: str, patterns: Sequence[str], who: RoleKeys) -> None:
        """Let a team sign the targets that fit one of the patterns, and no others (``shop/*/*``). Raises TrustError."""
        if role in TOP or not _ROLE.fullmatch(role):
            raise TrustError(
                f"{role!r}: a role is named by a-z, 0-9, - and _, not as one of {', '.join(TOP)}"
            )
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern) or ".." in pattern or pattern.startswith("/"):
                raise TrustError(f"{pattern!r}: no pattern of targets; write for example shop/*/*")
        targets = self._shelf.current("targets")
        if targets.signed.delegations is None:
            targets.signed.delegations = Delegations({}, {})
        delegations = targets.signed.delegations
        assert delegations.roles is not None
        ids = [key.tuf.keyid for key in who.keys]
        delegations.roles[role] = DelegatedRole(
            role, ids, who.threshold, terminating=True, paths=list(patterns)
        )
        delegations.keys.update({key.tuf.keyid: key.tuf for key in who.keys})
        used = {id_ for each in delegations.roles.values() for id_ in each.keyids}
        for unused in set(delegations.keys) - used:
            del delegations.keys[unused]
        self._shelf.stage("targets", targets)
        if self._shelf.staged(role) is None and self._shelf.published(role) is None:
            self._shelf.stage(role, Metadata(Targets()))

    def set_roles(self, roles: Mapping[str, RoleKeys]) -> None:
        """Give top-level roles other keys or thresholds: a new root, signed by the old keys and the new."""
        root = self._shelf.current("root")
        for name, who in roles.items():
            give_keys(root.signed, name, who)
        self._shelf.stage("root", root)

    def replace_key(self, role: str, old: PublicKey, new: PublicKey) -> None:
        """Rotate one key of a top-level role. Raises TrustError when the old one is not its key."""
        root = self._shelf.current("root").signed
        keys = public_keys(root, role)
        if old not in keys or new in keys:
            raise TrustError(f"{role}: {old.fingerprint} is no key of it, or the new one is already")
        kept = [new if key == old else key for key in keys]
        self.set_roles({role: RoleKeys(kept, root.roles[role].threshold)})

    def set_director(self, director: Director) -> None:
        """Name who signs answers; a higher epoch voids every answer given before. Raises TrustError."""
        root = self._shelf.current("root")
        if director.epoch < Director.from_root(root.signed.unrecognized_fields).epoch:
            raise TrustError("the epoch of the director never goes back")
        root.signed.unrecognized_fields.update(director.to_root())
        self._shelf.stage("root", root)

    def renew(self, role: str) -> None:
        """Stage a role unchanged, to be signed again before it expires."""
        self._shelf.stage(role, self._shelf.current(role))

    # signing and publishing

    def staged(self) -> dict[str, str]:
        """What waits, and how many of the signatures it needs it has: role -> "1 of 2"."""
        ready = self._ready()
        counts = {}
        for name, metadata in ready.items():
            results = [
                each.get_verification_result(name, metadata.signed_bytes, metadata.signatures)
                for each in self._shelf.delegators(name, metadata, ready)
            ]
            least = min(results, key=lambda result: len(result.signed) - result.threshold)
            counts[name] = f"{len(least.signed)} of {least.threshold}"
        return counts

    def sign(self, role: str, *keys: SigningKey) -> None:
        """Add signatures to a staged role. Raises TrustError when it is not staged, or a key is not one of its."""
        metadata = self._shelf.staged(role)
        if metadata is None:
            raise TrustError(f"{role}: nothing is staged for it")
        who = [each.get_delegated_role(role) for each in self._shelf.delegators(role, metadata, {})]
        for key in keys:
            if not any(key.public.tuf.keyid in each.keyids for each in who):
                raise TrustError(f"{role}: {key.public.fingerprint} is not one of its keys")
            metadata.sign(key.tuf, append=True)
        write_durably(self._shelf.staged_path(role), to_bytes(metadata), mode=0o644)

    def to_sign(self, role: str) -> bytes:
        """What the keys of a staged role sign, for keys that are on another machine. Raises TrustError."""
        metadata = self._shelf.staged(role)
        if metadata is None:
            raise TrustError(f"{role}: nothing is staged for it")
        return bytes(metadata.signed_bytes)

    def attach(self, role: str, keyid: str, signature: bytes) -> None:
        """Add a signature over `to_sign` that was made elsewhere, by the key of this TUF id. Raises TrustError."""
        metadata = self._shelf.staged(role)
        if metadata is None:
            raise TrustError(
                f"{role}: nothing is staged for it; stage it, and sign what is then to be signed"
            )
        made = Signature(keyid, signature.hex())
        known = False
        for each in self._shelf.delegators(role, metadata, {}):
            if keyid not in each.get_delegated_role(role).keyids:
                continue
            known = True
            try:
                each.get_key(keyid).verify_signature(made, metadata.signed_bytes)
            except UnverifiedSignatureError as error:
                raise TrustError(
                    f"{role}: the signature of the key {keyid[:16]} does not fit what is staged; sign it anew"
                ) from error
        if not known:
            raise TrustError(f"{role}: {keyid[:80]!r} is not one of its keys")
        metadata.signatures[keyid] = made
        write_durably(self._shelf.staged_path(role), to_bytes(metadata), mode=0o644)

    def publish(self, *online: SigningKey, signed_only: bool = False) -> tuple[str, ...]:
        """Publish what is staged, with a new snapshot and timestamp by the online keys; which roles. Raises TrustError.

        With `signed_only`, what still waits for signatures stays staged, and does not keep the rest back.
        """
        ready = self._ready()
        if signed_only:
            ready = self._signed(ready)
        seen = self._seen(ready)
        root, targets = seen["root"], seen["targets"]
        delegations = targets.signed.delegations
        names = ["targets", *(delegations.roles or () if delegations is not None else ())]
        files = {name: ready.get(name) or self._published(name) for name in names}
        for name, metadata in {**files, **ready}.items():
            verify(name, metadata, self._shelf.delegators(name, metadata, seen))
        gone = self._shelf.published("snapshot")
        meta = dict(gone.signed.meta) if gone is not None else {}
        meta.update({f"{name}.json": described(metadata) for name, metadata in files.items()})
        snapshot = self._shelf.signed_by("snapshot", Snapshot(meta=meta), root, online)
        timestamp = self._timestamp(described(snapshot), root, online)
        for name, metadata in [*ready.items(), ("snapshot", snapshot), ("timestamp", timestamp)]:
            self._shelf.write(name, metadata)
        for name in ready:
            self._shelf.staged_path(name).unlink()
        return tuple(ready)

    def refresh_timestamp(self, *online: SigningKey) -> None:
        """Say again that the published files are the newest, before the last timestamp expires. Raises TrustError."""
        before, root = self._shelf.published("timestamp"), self._shelf.published("root")
        if before is None or root is None:
            raise TrustError(f"{self.folder}: nothing is published yet")
        self._shelf.write("timestamp", self._timestamp(before.signed.snapshot_meta, root, online))

    def root(self, version: int | None = None) -> bytes:
        """A published root, to be embedded into devices; the newest when no version is given. Raises TrustError."""
        newest = self._shelf.newest_path("root")
        path = newest if version is None else self.folder / "metadata" / f"{version}.root.json"
        if path is None or not path.exists():
            raise TrustError(f"{self.folder}: no such root is published")
        return path.read_bytes()

    def role_of(self, path: str) -> str:
        """The role that a target's name is delegated to; ``targets`` when no team's pattern fits."""
        delegations = self._shelf.current("targets").signed.delegations
        found = next(delegations.get_roles_for_target(path), None) if delegations is not None else None
        return "targets" if found is None else str(found[0])

    def _published(self, role: str) -> Metadata[Any]:
        found = self._shelf.published(role)
        return self._shelf.current(role) if found is None else found

    def _seen(self, ready: Mapping[str, Metadata[Any]]) -> dict[str, Metadata[Any]]:
        """What devices see once `ready` is published: the roles that others are verified by."""
        return {"root": self._published("root"), "targets": self._published("targets"), **ready}

    def _signed(self, ready: Mapping[str, Metadata[Any]]) -> dict[str, Metadata[Any]]:
        """Those that have all their signatures, and need none of the others. Raises TrustError if there is none."""
        kept = dict(ready)
        while lacking := [
            name for name, metadata in kept.items() if not self._complete(name, metadata, kept)
        ]:
            for name in lacking:
                del kept[name]
        if ready and not kept:
            counts = [
                f"{name}: signed by {n.replace('of', 'of the')} keys" for name, n in self.staged().items()
            ]
            raise TrustError(f"{', '.join(counts)} that it needs; sign it first")
        return kept

    def _complete(self, role: str, metadata: Metadata[Any], kept: Mapping[str, Metadata[Any]]) -> bool:
        try:
            verify(role, metadata, self._shelf.delegators(role, metadata, self._seen(kept)))
        except (TrustError, ValueError):  # ValueError: its delegation is not published yet
            return False
        return True

    def _ready(self) -> dict[str, Metadata[Any]]:
        names = sorted(path.stem for path in (self.folder / "staged").glob("*.json"))
        return {name: metadata for name in names if (metadata := self._shelf.staged(name)) is not None}

    def _timestamp(self, snapshot: Any, root: Metadata[Any], online: Sequence[SigningKey]) -> Metadata[Any]:
        content = Timestamp(snapshot_meta=snapshot)
        content.unrecognized_fields[ISSUED] = int(self._clock())
        return self._shelf.signed_by("timestamp", content, root, online)
