"""Those who draw: recorded drawings for the simulation, the user of the one real agent, and the larger model's answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from walle_deploy.agent.agent import Agent
from walle_deploy.cloud.config import price_of, read, store_of
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.work import CloudTask
from walle_pipeline.log import EventLog
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

from fleet.task import NAME, STREAM, drawn
from fleet.world import CLOUD

EVERY_S, BLANK = 0.2, 4  # seconds between drawings; one in so many is empty


def record(folder: Path, drawings: np.ndarray, devices: int = 10) -> list[Path]:
    """Logs of what some devices have seen: `drawings` [n, 64], dealt out among them."""
    made = []
    folder.mkdir(parents=True, exist_ok=True)
    for device in range(devices):
        made.append(folder / f"phone-{device}.events")
        with EventLog(made[-1]) as log:
            log.append(
                drawn(drawing, 1000 * at, f"user-{device}")
                for at, drawing in enumerate(drawings[device::devices])
            )
    return made


def draw(agent: Agent, drawings: np.ndarray, stop: threading.Event) -> None:
    """The agent's user draws until told to stop; sometimes the finger does not reach the screen."""
    began = time.time()
    for at in range(1 << 30):
        if stop.wait(EVERY_S):
            return
        drawing = np.zeros(64, int) if at % BLANK == BLANK - 1 else drawings[at % len(drawings)]
        agent.feed([drawn(drawing, int(1000 * (began + at * EVERY_S)), "user")])


class Large:
    """The larger model as the cloud calls it; remembers how often it was right."""

    def __init__(self, network: Any, truth: Mapping[bytes, int]) -> None:
        self._network, self._truth = network, truth
        self.right = self.known = 0

    def __call__(self, inputs: list[dict[str, Any]]) -> Sequence[Any]:
        """See `walle_deploy.cloud.models.Model`."""
        images = np.array([sample["events"][-1]["contents"]["image"] for sample in inputs], np.float32)
        digits = [int(digit) for digit in self._network.predict(images / 16)]
        for image, digit in zip(images, digits, strict=True):
            if (truth := self._truth.get(image.astype(np.uint8).tobytes())) is not None:
                self.known += 1
                self.right += digit == truth
        return [{"digit": digit} for digit in digits]


@contextmanager
def cloud(folder: Path, model: Large) -> Iterator[CloudService]:
    """The cloud's side of drawings of which a device is not sure, until the end of the context."""
    text = read(folder / CLOUD)
    store, tasks = store_of(text, folder), [CloudTask(NAME, STREAM, model)]
    service = CloudService(SqliteSink(folder / "tunnel.db"), tasks, store, price=price_of(text.price))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cloud")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(30)
        try:
            yield service
        finally:
            asyncio.run_coroutine_threadsafe(service.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        store.close()
