"""The check through a deployment server."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from hashlib import blake2b

from walle_deploy.errors import HookError
from walle_deploy.hooks.connections import Connections
from walle_deploy.hooks.headers import PROFILE, write_digest
from walle_deploy.profile import DIGEST_BYTES
from walle_deploy.trust.answer import MAX_ANSWER

MAX_QUIET = 100_000
LONGEST_REST_S = 30.0
_FOUND, _NOTHING, _WANTS_FULL = 200, 204, 428
_REFUSED = (400, 401, 403, 413, 429)  # about this device only


class RemoteCheck:
    """Asks the deployment server at `url`, over connections that are kept.

    A digest that was found quiet is for `remember` seconds. When the server cannot be reached or is busy, everything
    counts as quiet for a while: what it says in Retry-After, or 1 s, doubled each time; 30 s at most.

    Arguments:
        url: of the server, such as ``https://deploy.shop.example``; `/walle/check` is below it.
        connections: how many at most.
        timeout: seconds of one request.
        tls: for https; default: the system's trust.

    Raises HookError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        remember: float = 3.0,
        connections: int = 32,
        timeout: float = 2.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._connections = url, Connections(url, connections, timeout, tls)
        self._remember, self._clock = remember, clock
        self._quiet: dict[bytes, float] = {}  # digest -> until when; the oldest first
        self._rest, self._rests_until = 0.0, 0.0

    def quiet(self, digest: bytes) -> bool | None:
        """See `Check`."""
        now = self._clock()
        return True if now < self._rests_until or now < self._quiet.get(digest, 0.0) else None

    async def digest(self, digest: bytes) -> bool:
        """See `Check`. Raises HookError when the server does not say."""
        status, _ = await self._ask("GET", {PROFILE: write_digest(digest)}, b"")
        if status == _NOTHING:
            self._found_quiet(digest)
        return status == _NOTHING

    async def full(self, profile: bytes, token: str) -> bytes | None:
        """See `Check`."""
        status, answer = await self._ask("POST", {"Authorization": f"Bearer {token}"}, profile)
        if status == _FOUND:
            return answer
        self._found_quiet(blake2b(profile, digest_size=DIGEST_BYTES).digest())
        return None

    async def close(self) -> None:
        """Closes the connections; the next check opens new ones."""
        await self._connections.close()

    async def _ask(self, method: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of an answer that says something. Raises HookError; ConnectionError if the server is away."""
        try:
            reply = await self._connections.ask(method, "/walle/check", headers, body, MAX_ANSWER)
        except (OSError, TimeoutError) as error:
            self._away(None)
            raise ConnectionError(f"{self._url}: {type(error).__name__}: {error}") from error
        if reply.status in (_NOTHING, _WANTS_FULL, _FOUND):
            self._rest = 0.0
        elif reply.status in _REFUSED:
            text = reply.body[:200].decode("utf-8", "replace")
            raise HookError(f"{self._url}: status {reply.status}: {text}")
        else:
            self._away(reply.headers.get("retry-after"))
            raise ConnectionError(f"{self._url}: status {reply.status}")
        return reply.status, reply.body

    def _found_quiet(self, digest: bytes) -> None:
        quiet = self._quiet
        quiet.pop(digest, None)
        quiet[digest] = self._clock() + self._remember
        if len(quiet) > MAX_QUIET:
            del quiet[next(iter(quiet))]

    def _away(self, after: str | None) -> None:
        """Rests as long as the server says, or twice as long as the last time."""
        now = self._clock()
        if now < self._rests_until:
            return
        said = (
            float(after)
            if after is not None and after.isascii() and after.isdecimal() and len(after) < 6
            else 0.0
        )
        self._rest = min(max(said, 2 * self._rest, 1.0), LONGEST_REST_S)
        self._rests_until = now + self._rest
