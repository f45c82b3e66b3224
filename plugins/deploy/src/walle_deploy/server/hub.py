"""Who listens to changes of releases: one look at the database for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from walle_deploy.server.answers import ApiError
from walle_deploy.server.types import Changed

LISTENERS = 256  # in one worker
LOOK_S = 0.25
EVERY_S = 1.0  # between two changes of one release that are told
SILENCE_S = 15.0  # after which a comment shows that the connection lives
WAITING = 1000  # changes that a listener may be behind

Look = Callable[[Mapping[int, int]], Awaitable[list[Changed]]]


class Hub:
    """The listeners of one worker; it looks for changes only while there are any.

    Args:
        look: see Platform.changed.
    """

    def __init__(self, look: Look) -> None:
        self._changed = look
        self._queues: set[asyncio.Queue[Changed]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def changes(self) -> AsyncGenerator[Changed | None, None]:
        """Changes from now on; None after a silence. Raises ApiError if there are too many listeners."""
        if len(self._queues) >= LISTENERS:
            raise ApiError(503, f"{LISTENERS} listeners are connected", "try again later", wait=10)
        queue: asyncio.Queue[Changed] = asyncio.Queue(WAITING)
        self._queues.add(queue)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="events")
        try:
            yield None
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), SILENCE_S)
                except TimeoutError:
                    yield None
        finally:
            self._queues.discard(queue)

    async def _look(self) -> None:
        known: dict[int, int] | None = None
        told: dict[int, float] = {}
        while self._queues:
            try:
                found = await self._changed(known or {})
            except Exception as error:
                logging.getLogger(__name__).warning("changes cannot be read: %s", error)
                await asyncio.sleep(EVERY_S)
                continue
            now = asyncio.get_running_loop().time()
            due = [change for change in found if now - told.get(change.release, -EVERY_S) >= EVERY_S]
            for change in due if known is not None else ():
                told[change.release] = now
                for queue in self._queues:
                    if not queue.full():
                        queue.put_nowait(change)
            known = {**(known or {}), **{change.release: change.revision for change in due}}
            await asyncio.sleep(LOOK_S)
