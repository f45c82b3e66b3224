"""The check in the process of the deployment platform itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from walle_deploy.errors import HookError, PolicyError
from walle_deploy.profile import Profile
from walle_deploy.server.refusals import BusyError


class Platform(Protocol):
    """What this needs of `server.platform.Platform`."""

    def check_digest(self, digest: bytes) -> bool:
        """True if nothing is new for the profile with this digest; from memory. Raises BusyError."""

    def begin_check(self, profile: Profile) -> bytes | Future[bytes | None] | None:
        """The signed answer, what will have it, or None if nothing is new. Raises BusyError."""


class LocalCheck:
    """Asks `platform`. `authenticate`: whether a token (second) is the one of a device (first)."""

    def __init__(self, platform: Platform, authenticate: Callable[[str, str], bool]) -> None:
        self._platform, self._authenticate = platform, authenticate

    def quiet(self, digest: bytes) -> bool | None:
        """See `Check`. While the platform does not know what may be offered, nothing is new."""
        try:
            return self._platform.check_digest(digest)
        except BusyError:
            return True

    async def digest(self, digest: bytes) -> bool:
        """See `Check`."""
        return self._platform.check_digest(digest)

    async def full(self, profile: bytes, token: str) -> bytes | None:
        """See `Check`."""
        try:
            device = Profile.read(profile)
        except PolicyError as error:
            raise HookError(str(error)) from error
        if not self._authenticate(device.id, token):
            raise HookError(f"{device.id}: the token is not this device's")
        found = self._platform.begin_check(device)
        return await asyncio.wrap_future(found) if isinstance(found, Future) else found
