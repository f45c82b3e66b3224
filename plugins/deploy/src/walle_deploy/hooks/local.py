"""The check in the process of the deployment platform itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from walle_deploy.errors import HookError, PolicyError
from walle_deploy.profile import Profile


class Platform(Protocol):
    """What this needs of the platform."""

    def check_digest(self, digest: bytes, /) -> bool:
        """True if nothing is new for the profile with this digest; from memory."""

    def check(self, profile: Profile, /) -> bytes | None:
        """The signed answer; None if nothing is new. May wait for the database."""


class LocalCheck:
    """Asks `platform`. `authenticate`: whether a token (second) is the one of a device (first)."""

    def __init__(self, platform: Platform, authenticate: Callable[[str, str], bool]) -> None:
        self._platform, self._authenticate = platform, authenticate

    def quiet(self, digest: bytes) -> bool | None:
        """See `Check`."""
        return self._platform.check_digest(digest)

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
        return await asyncio.get_running_loop().run_in_executor(None, self._platform.check, device)
