"""What the middleware asks about a device."""

from __future__ import annotations

from typing import Protocol


class Check(Protocol):
    """Says whether there is anything new for a device; `RemoteCheck` and `LocalCheck` are two.

    Whatever these raise, and however long they take, costs only this check. A check may also have `close`, which is
    awaited when the application ends.
    """

    def quiet(self, digest: bytes) -> bool | None:
        """At once, from memory: True if nothing is new for the profile with this digest; None: ask `digest`."""

    async def digest(self, digest: bytes) -> bool:
        """True if nothing is new; False if only the full profile can tell."""

    async def full(self, profile: bytes, token: str) -> bytes | None:
        """The signed answer for a device; None if nothing is new. Raises HookError for a profile or token that is none."""
