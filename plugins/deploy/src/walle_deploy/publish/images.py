"""The image metadata of a version: the server proposes it, and only what it must say, and nothing else, is signed here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets  # type: ignore[attr-defined]

from walle_deploy.errors import TrustError
from walle_deploy.trust.keys import PublicKey, SigningKey

LONGEST_S = 400 * 86_400  # that a signature made here may hold, from now
_LOOKED_AT = frozenset({"version", "expires", "targets"})  # each in its own way; all else must not change
_FIRST = Targets().to_dict()


@attrs.frozen
class Listed:
    """What the metadata must newly say of a version: its manifest."""

    manifest: bytes

    def fits(self, new: TargetFile | None, old: TargetFile | None) -> bool:
        """Whether it says that, and no more."""
        digest = hashlib.sha256(self.manifest).hexdigest()
        wanted = ({"sha256": digest}, len(self.manifest), None)
        return new is not None and (new.hashes, new.length, new.custom) == wanted


@attrs.frozen
class Revoked:
    """What the metadata must newly say of a version: that it must not run, and why."""

    why: str

    def fits(self, new: TargetFile | None, old: TargetFile | None) -> bool:
        """Whether it says that, and no more. A role that did not list the version before may revoke it for another."""
        if new is None or new.custom != {"revoked": self.why}:
            return False
        return old is None or (new.hashes, new.length) == (old.hashes, old.length)


def checked(
    proposed: bytes,
    before: bytes,
    wanted: Mapping[str, Listed | Revoked],
    keys: Sequence[PublicKey],
    now: float,
) -> bytes:
    """Returns `proposed` if it may be signed. Raises TrustError with what else it says.

    A server that was broken into could propose anything, so nothing of it is believed: it must be what these keys have
    signed last, with the wanted targets and the next version number.

    Args:
        proposed: canonical bytes of the new list of targets.
        before: the published file of the same role; empty only if there is none yet.
        wanted: name of target -> what must be said of it now.
        keys: one of which has signed what is published.
        now: Unix seconds.
    """
    new = _targets(proposed)
    old = _signed_before(before, keys) if before else None
    last = old.version if old is not None else 0
    if new.version != last + 1:
        raise TrustError(f"the server proposes version {new.version} of the image metadata after {last}")
    left = new.expires.timestamp() - now
    if not 0 < left <= LONGEST_S:
        raise TrustError(f"the server proposes image metadata that expires in {left / 86_400:.0f} days")
    said, known = new.to_dict(), old.to_dict() if old is not None else _FIRST
    if different := [
        name for name in {*said, *known} - _LOOKED_AT if name not in said or said[name] != known.get(name)
    ]:
        raise TrustError(f"the server proposes image metadata with another {', '.join(sorted(different))}")
    listed = old.targets if old is not None else {}
    for path in sorted({*new.targets, *listed, *wanted}):
        _check_target(path, new.targets.get(path), listed.get(path), wanted.get(path))
    return proposed


def sign(proposed: bytes, key: SigningKey) -> tuple[str, str]:
    """Id of the key and the signature, in hex, as TUF writes them."""
    made = key.tuf.sign(proposed)
    return str(made.keyid), str(made.signature)


def _targets(proposed: bytes) -> Targets:
    try:
        values: Any = json.loads(proposed)
        made = Targets.from_dict(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError) as error:
        raise TrustError(f"the server proposes no image metadata of targets: {error!r:.200}") from error
    if Metadata(made).signed_bytes != proposed:
        raise TrustError("the server proposes image metadata that is not in its canonical form")
    return made


def _signed_before(before: bytes, keys: Sequence[PublicKey]) -> Targets:
    """The published metadata, which one of the keys has signed."""
    try:
        found: Any = Metadata.from_bytes(before)
    except RepositoryError as error:
        raise TrustError(f"the server shows published image metadata that is none: {error}") from error
    if not isinstance(found.signed, Targets) or not any(_has_signed(key, found) for key in keys):
        raise TrustError(
            f"the published image metadata is not signed by your key ({keys[0].fingerprint}): it cannot be told what of the "
            "new one is yours; use the key of the role, or name who signed with --known-key"
        )
    return found.signed


def _has_signed(key: PublicKey, metadata: Any) -> bool:
    found = metadata.signatures.get(key.tuf.keyid)
    try:
        return found is not None and key.verifies(bytes.fromhex(found.signature), metadata.signed_bytes)
    except ValueError:
        return False


def _check_target(
    path: str, new: TargetFile | None, old: TargetFile | None, wanted: Listed | Revoked | None
) -> None:
    if wanted is not None:
        if not wanted.fits(new, old):
            raise TrustError(f"the server proposes to say something else of {path} than what was asked of it")
    elif new is None:
        raise TrustError(f"the server proposes to take {path} off the list")
    elif old is None or new.to_dict() != old.to_dict():
        raise TrustError(
            f"the server proposes {path} too, which is not what you publish; let who made it publish it first"
        )
