"""What can go wrong on a device; every error says what, where and what to do."""

from __future__ import annotations

from walle_deploy.errors import DeployError


class AgentError(DeployError):
    """An agent that cannot be set up, or is asked for what it does not have."""


class AwayError(AgentError):
    """The server does not answer, or not sensibly; later it may.

    Attributes:
        after_s: seconds after which the server wants to be asked again; None if it did not say.
        status: of the answer, 0 if there was none.
    """

    def __init__(self, text: str, status: int = 0, after_s: float | None = None) -> None:
        super().__init__(text)
        self.status, self.after_s = status, after_s
