"""Which token belongs to which device."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from walle_pipeline.errors import TunnelError

Authenticate = Callable[[str], str | None]

_DEVICE = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def tokens(devices: Mapping[str, str]) -> Authenticate:
    """From device -> token, or device -> ``sha256:`` and the hex digest of the token.

    A token is looked up by its digest, and digests are compared in constant time, so an answer's delay says nothing
    about tokens. Raises TunnelError for a bad or repeated name or token.
    """
    by_digest: dict[str, str] = {}
    for device, token in devices.items():
        if not _DEVICE.fullmatch(device) or not token:
            raise TunnelError(f"{device!r}: a device has a printable name without spaces and a token")
        digest = token[7:] if _HASH.fullmatch(token) else hashlib.sha256(token.encode()).hexdigest()
        if by_digest.setdefault(digest, device) != device:
            raise TunnelError(f"{device!r} has the same token as {by_digest[digest]!r}")

    def authenticate(token: str) -> str | None:
        digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        device = by_digest.get(digest)
        known = digest if device is not None else hashlib.sha256(b"").hexdigest()
        return device if hmac.compare_digest(known, digest) else None

    return authenticate


def tokens_from_file(path: str | os.PathLike[str]) -> Authenticate:
    """From a file of lines ``device token``; empty lines and those that begin with # are skipped. Raises TunnelError."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TunnelError(f"{path}: the tokens cannot be read: {error}") from error
    devices: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] in devices:
            raise TunnelError(f"{path}:{number}: expected `device token`, each device once")
        devices[words[0]] = words[1]
    return tokens(devices)
