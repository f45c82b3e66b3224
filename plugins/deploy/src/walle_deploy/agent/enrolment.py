"""The device's token: got once from the server by an enrolment secret, kept, and got anew if it is not good any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from walle_deploy.agent.errors import AgentError
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.settings import Happening
from walle_deploy.agent.wire import Server


class Enrolment:
    """Any thread may call any method.

    Args:
        server, journal: where the token is from, and where it is kept.
        device: id.
        secret: the enrolment secret; "" if the device was registered before.
        tell: called with what happens.
    """

    def __init__(
        self, server: Server, journal: Journal, device: str, secret: str, tell: Callable[[Happening], None]
    ) -> None:
        self._server, self._journal, self._device, self._secret, self._tell = (
            server,
            journal,
            device,
            secret,
            tell,
        )
        self._lock = threading.Lock()
        self._token: str | None = journal.get("token")

    @property
    def known(self) -> str | None:
        """The token if there is one; asks nobody."""
        return self._token

    def token(self) -> str:
        """The token, by registration if there is none. Raises AgentError if that is refused, AwayError if nobody answers."""
        with self._lock:
            if self._token is None:
                if not self._secret:
                    raise AgentError(
                        f"device {self._device!r} is not registered at {self._server.url}: give an enrolment secret"
                    )
                token = self._server.register(self._device, self._secret)
                self._journal.put("token", token)
                self._token = token
                self._tell(Happening("registered", f"device {self._device} at {self._server.url}"))
            return self._token

    def reject(self, token: str) -> bool:
        """Forgets a token that the server did not take; whether another may be had."""
        with self._lock:
            if token == self._token and self._secret:
                self._token = None
            return self._token != token
