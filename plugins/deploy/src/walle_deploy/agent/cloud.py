"""What a run sends to the cloud besides its report: the features, and the sample of which the task is not confident."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from walle_core.errors import WalleError
from walle_deploy.agent.contained import Run
from walle_deploy.agent.journal import Journal
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.runner import Item
from walle_deploy.errors import TaskError
from walle_deploy.task.config import Cloud
from walle_deploy.task.packing import pack

DAY_S = 86_400
MAX_SAMPLE = 1_000_000  # bytes; a payload of the tunnel may have 2**20 with its frame
_log = logging.getLogger(__name__)


class Tunnel(Protocol):
    """What this needs of walle_pipeline's tunnel."""

    def send_many(self, items: list[tuple[str, bytes, str | None]]) -> list[int]:
        """Puts (stream, payload, unique key) into the outbox, durable when it returns."""

    def use(self, stream: str, dictionary: Any) -> None:
        """Gives a stream a compression dictionary of its own."""


@attrs.frozen
class Sending:
    """What is to be sent of a run, and what is to be known of it.

    Attributes:
        items: for the tunnel.
        values: for the report.
        facts: for the journal, once the items are in the outbox.
    """

    items: list[tuple[str, bytes, str | None]]
    values: Mapping[str, float]
    facts: Mapping[str, Any]


class CloudSide:
    """Decides what goes to the cloud. Any thread may call any method.

    Args:
        tunnel: takes features and samples.
        journal: counts the samples of a day.
        now: seconds since the epoch; never earlier than the newest signed time.
    """

    def __init__(self, tunnel: Tunnel, journal: Journal, now: Callable[[], float]) -> None:
        self._tunnel, self._journal, self._now = tunnel, journal, now

    def use(self, loaded: Loaded) -> None:
        """Compresses the features of a version by its dictionary. What is wrong with it costs bytes, nothing else."""
        from walle_pipeline.tunnel.dictionary import Dictionary

        path = loaded.config.dictionary
        try:
            made = None if path is None else _dictionary(loaded.version.folder / path.file, Dictionary)
        except (WalleError, OSError) as error:
            _log.warning("task %s %s: no dictionary: %s", loaded.task, loaded.name, error)
            made = None
        self._tunnel.use(loaded.task, made)

    def send(self, loaded: Loaded, item: Item, run: Run, unique: str) -> Sending:
        """Sends what a run that went well has for the cloud. `unique` names the run, the same when it is made again.

        Raises WalleError if the outbox takes nothing (full, or the disk is).
        """
        sending = self._sending(loaded, item, run, unique)
        if sending.items:
            self._tunnel.send_many(sending.items)
        return sending

    def _sending(self, loaded: Loaded, item: Item, run: Run, unique: str) -> Sending:
        items: list[tuple[str, bytes, str | None]] = []
        values: dict[str, float] = {}
        facts: dict[str, Any] = {}
        features = run.result.get("features")
        if features:
            items.append((loaded.task, pack(features), f"{unique}/features"))
        cloud = loaded.config.cloud
        if cloud is not None:
            unsure = not confident(cloud, run.result)
            values |= {"unsure": float(unsure), "sent": 0.0}
            day, fact = int(self._now() // DAY_S), f"cloud/{loaded.task}"
            last, count = self._journal.get(fact, (0, 0))
            count = count if last == day else 0
            if unsure and count < cloud.daily:
                data = _sample(cloud, loaded, item, run, unique)
                if len(data) <= MAX_SAMPLE:
                    items.append((cloud.stream, data, f"{unique}/sample"))
                    values |= {"sent": 1.0, "sent_bytes": float(len(data))}
                    facts[fact] = (day, count + 1)
                else:
                    _log.warning(
                        "task %s: a sample of %d bytes is too large to be sent", loaded.task, len(data)
                    )
        return Sending(items, values, facts)


def confident(cloud: Cloud, result: Mapping[str, Any]) -> bool:
    """Whether a result is good enough as it is. A confidence that is no number is none."""
    if cloud.confidence is None:
        return result.get("confident", True) is not False
    value: Any = result.get(cloud.confidence)
    try:
        value = value.item() if hasattr(value, "item") else value
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        return float(value) >= cloud.below
    except (TypeError, ValueError, WalleError):
        return False


def _sample(cloud: Cloud, loaded: Loaded, item: Item, run: Run, unique: str) -> bytes:
    """The sample: what [cloud] names, with what the larger model needs to answer, and who asked."""
    names = cloud.send or list(loaded.config.inputs)
    known = {**run.inputs, "features": run.result.get("features")}
    outputs = {name: run.result[name] for name in loaded.config.outputs if name in run.result}
    return pack(
        {
            "task": loaded.task,
            "version": loaded.name,
            "run": unique,
            "time": item.time,
            "inputs": {name: known.get(name) for name in names},
            "outputs": outputs,
        }
    )


def _dictionary(path: Path, kind: Any) -> Any:
    data = path.read_bytes()
    if data[:5] == b"WDIC\x01":
        return kind.load(path)
    try:
        return kind.from_bytes(data)
    except WalleError as error:
        raise TaskError(f"{path.name}: {error}") from error
