"""What one worker of the server has, and what it does by itself in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from walle_deploy.offered import installed_gates
from walle_deploy.release.gates import GateRegistry
from walle_deploy.server import folder
from walle_deploy.server.answers import ApiError
from walle_deploy.server.auth import Operator, Tokens
from walle_deploy.server.hub import Hub
from walle_deploy.server.images import Images
from walle_deploy.server.limits import Buckets
from walle_deploy.server.logs import event
from walle_deploy.server.metrics import Metrics
from walle_deploy.server.platform import Platform
from walle_deploy.server.settings import Settings
from walle_deploy.store.files import FileStore
from walle_deploy.trust import AnswerSigner

if TYPE_CHECKING:
    from walle_deploy.cloud.shown import Shown

CALLERS = 8  # threads that wait for the database or a disk, for operators and in the background
REFRESH_S = 30.0  # between looks at the image metadata's expiry
FLUSH_S = 1.0
GAUGES_S = 1.0  # how long counts of the database are kept for the next scrape
LONGEST_TICK_S = 1.0

SOON_S = 14 * 86_400.0  # before people's signatures expire, from which on the log says so once a day

_DAY = 86_400
_GAUGES = ("devices", "tasks", "epoch", "age", "quiet", "waiting")
_T = TypeVar("_T")


class Services:
    """The parts that requests use.

    Attributes:
        platform: tasks, releases, devices.
        tokens: of operators.
        images: the image repository.
        store: of files.
        secret: that makes devices' tokens.
        settings: of the server.
        metrics: of this worker.
        hub: of those who listen to changes.
        uploads: that go on now.
        gates: kinds that plans may have.
        cloud: what the cloud's service has counted; None: this server is told of none.
    """

    def __init__(
        self,
        platform: Platform,
        tokens: Tokens,
        images: Images,
        store: FileStore,
        secret: bytes,
        settings: Settings,
        metrics: Metrics | None = None,
        gates: GateRegistry | None = None,
        cloud: Shown | None = None,
    ) -> None:
        self.platform, self.tokens, self.images, self.store = platform, tokens, images, store
        self.secret, self.settings, self.metrics = secret, settings, metrics or Metrics()
        self.gates, self.cloud = gates, cloud
        self.uploads = 0
        self.hub = Hub(lambda known: self.apart(platform.changed, known))
        self._callers = ThreadPoolExecutor(CALLERS, "call")
        self._wrong = Buckets(1.0, 30, 1 << 12)
        self._tasks: list[asyncio.Task[None]] = []
        self._warned: dict[str, int] = {}
        self._gauges: tuple[float, dict[str, dict[str, float]]] = (-GAUGES_S, {})

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Everything that the folder and the settings name. Raises DeployError."""
        base = Path(settings.folder)
        secret, keys = folder.secret(base), folder.online_keys(base)
        images = Images(base / "images", (keys["snapshot"], keys["timestamp"]))
        store, gates = FileStore.open(settings.store_url, secret), installed_gates()
        platform = Platform.open(
            settings.database_url,
            secret=secret,
            signer=AnswerSigner(keys["director"]),
            base_url=settings.base_url,
            prefix=store.prefix,
            gates=gates,
        )
        metrics, tokens = Metrics(settings.path("workers")), Tokens(platform.database)
        return cls(platform, tokens, images, store, secret, settings, metrics, gates, _costs(settings))

    def close(self) -> None:
        """Ends threads and connections."""
        self._callers.shutdown(wait=True, cancel_futures=True)
        if self.cloud is not None:
            self.cloud.close()
        self.platform.close()

    async def apart(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Calls what waits for a disk or a database in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._callers, function, *arguments)

    async def enrolment(self, token: str, address: str) -> Operator:
        """Who made an enrolment secret. Raises ApiError if it is none."""
        return await self.allowed(token, "enrol", address)

    async def allowed(self, token: str, right: str, address: str) -> Operator:
        """Whose token it is, if it gives a right. Raises ApiError if it does not, or is none."""
        found = await self.apart(self.tokens.who, token) if token else None
        if found is not None and found.may(right):
            return found
        if found is not None and right != "enrol":
            raise ApiError(
                403,
                f"the role {found.role} may not do this; it takes the right to {right}",
                "ask somebody who may",
            )
        self.metrics.count("refused_tokens", "enrolment" if right == "enrol" else "operator")
        if wait := self._wrong.wait(address):
            raise ApiError(429, "too many wrong tokens from this address", "use a token that is valid", wait)
        if right == "enrol":
            raise ApiError(401, "the enrolment secret is not valid", "get one from an administrator")
        what = "the token is unknown, expired or revoked" if token else "a token is missing"
        raise ApiError(401, what, "send `Authorization: Bearer <token>`; an administrator makes tokens")

    def check_health(self) -> None:
        """Raises ApiError unless this worker can do its work; expired image metadata is no reason, for rollbacks go on."""
        if why := self.platform.health():
            raise ApiError(503, why, wait=1)

    def exposition(self) -> tuple[bytes, str]:
        """The metrics of all workers."""
        at, gauges = self._gauges
        if time.monotonic() - at >= GAUGES_S:
            found, now = self.platform.counts(), time.time()
            gauges = {name: {"": float(getattr(found, name))} for name in _GAUGES}
            gauges["releases"] = {status: float(number) for status, number in found.releases.items()}
            gauges["image_seconds_left"] = {role: end - now for role, end in self.images.expires().items()}
            self._gauges = (time.monotonic(), gauges)
        return self.metrics.exposition(gauges)

    async def start(self) -> None:
        """Begins what this worker does by itself."""
        self._tasks = [
            asyncio.create_task(self._repeat(self._refresh, REFRESH_S), name="refresh"),
            asyncio.create_task(self._repeat(self._tick, LONGEST_TICK_S), name="tick"),
            asyncio.create_task(self._repeat(self._flush, FLUSH_S), name="flush"),
        ]
        if (parent := multiprocessing.parent_process()) is not None and parent.pid is not None:
            self._tasks.append(asyncio.create_task(self._watch_parent(parent.pid), name="parent"))

    async def stop(self) -> None:
        """Ends it, and closes everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.metrics.flush()
        self.close()

    async def _repeat(self, function: Callable[[], float | None], seconds: float) -> None:
        """Calls a function again and again, after at most so many seconds; it may say how soon it wants to be called."""
        while True:
            wait = None
            try:
                wait = await self.apart(function)
            except Exception:
                logging.getLogger(__name__).exception("background work failed")
            await asyncio.sleep(seconds if wait is None else min(max(wait, 0.05), seconds))

    def _tick(self) -> float:
        return self.platform.tick()

    def _flush(self) -> None:
        self.metrics.flush()

    def _refresh(self) -> None:
        if made := self.images.refresh():
            event("image metadata signed again", roles=list(made))
        for role, end in self.images.expires().items():
            left, day = end - time.time(), int(time.time() // _DAY)
            if left < SOON_S and role not in {"snapshot", "timestamp"} and self._warned.get(role) != day:
                self._warned[role] = day
                event("image metadata expires soon", logging.WARNING, role=role, days=round(left / _DAY, 1))

    async def _watch_parent(self, parent: int) -> None:
        """Ends this worker when its supervisor is gone, which would otherwise leave it behind."""
        while True:
            await asyncio.sleep(0.5)
            if os.getppid() != parent:
                event("the supervisor is gone", logging.ERROR)
                with contextlib.suppress(OSError):
                    os.kill(os.getpid(), signal.SIGTERM)
                return


def _costs(settings: Settings) -> Shown | None:
    if not settings.cloud:
        return None
    from walle_deploy.cloud.shown import Shown

    return Shown(settings.path(settings.cloud))
