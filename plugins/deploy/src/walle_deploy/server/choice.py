"""What a release offers, made ready for many devices: the same as `release.offers.offer`, without the reasons."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from walle_deploy.release.offers import per_minute
from walle_deploy.release.plan import BUCKETS
from walle_deploy.release.state import State

ASK: Literal[True] = True
"""The device gets the version if the minute's budget has an admission left."""


def betas(state: State) -> frozenset[str]:
    """Policies whose devices are in beta now."""
    begun = state.plan.stages[: state.stage + 1]
    return frozenset(each.policy for each in begun if each.kind == "beta" and each.policy is not None)


class Choice:
    """One state of a release.

    Attributes:
        version: that is released.
        previous: what else devices run.
        betas: policies whose devices are in beta.
    """

    __slots__ = (
        "_beta_control",
        "_control",
        "_everyone",
        "_limit",
        "_limited",
        "_named",
        "_nobody",
        "_paused",
        "_salt",
        "betas",
        "previous",
        "version",
    )

    def __init__(self, state: State) -> None:
        stage = state.current
        begun = [each for each in state.plan.stages[: state.stage + 1] if each.kind == "beta"]
        self.version, self.previous = state.version, state.previous
        self._salt = state.version.encode(errors="surrogatepass")
        self._nobody = state.final or (stage.kind == "simulation" and state.status != "finished")
        self._everyone = state.status == "finished"
        self._paused = state.status == "paused"
        self._limited = per_minute(stage) is not None
        self._limit = stage.threshold
        self._control = round(stage.control * BUCKETS)
        self._beta_control = round(min((each.control for each in (*begun, stage)), default=0.0) * BUCKETS)
        self._named = frozenset(device for each in begun for device in each.devices)
        self.betas = betas(state)

    def pick(
        self, device: str, bucket: int, running: str | None, *, beta: bool
    ) -> str | Literal[True] | None:
        """The version that the device should run, None for none, or ASK: `version` if an admission is left."""
        if self._nobody:
            return self.previous
        if not self._everyone:
            if device in self._named or (beta and self.betas):
                control = self._beta_control
            elif bucket < self._limit:
                control = self._control
            else:
                return self.previous
            if control:
                mixed = blake2b(bucket.to_bytes(4, "little") + self._salt, digest_size=4).digest()
                if int.from_bytes(mixed, "little") < control:
                    return self.previous
        if running == self.version:
            return running
        if self._paused:
            return self.previous
        return ASK if self._limited else self.version
