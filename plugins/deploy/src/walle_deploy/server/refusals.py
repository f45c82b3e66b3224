"""Refusals of the platform; `status` is what HTTP says for it."""

from __future__ import annotations

from walle_deploy.errors import DeployError


class MissingError(DeployError):
    """There is nothing of that name or number."""

    status = 404


class ConflictError(DeployError):
    """It does not fit to what is there."""

    status = 409


class TooLargeError(DeployError):
    """More than is taken."""

    status = 413


class BusyError(DeployError):
    """Not now: this worker does not know what may be offered, or has too much to write. `wait`: seconds."""

    status = 503

    def __init__(self, why: str, wait: float = 1.0) -> None:
        super().__init__(why)
        self.wait = wait
