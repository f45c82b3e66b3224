"""What only operators and the server tell each other; all else is in `walle_deploy.server.types`."""

from __future__ import annotations

import msgspec


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Image metadata to be signed: of which role, the bytes, and the published file of that role, if there is one."""

    role: str
    metadata: bytes
    before: bytes = b""
