"""The file of ``walle cloud serve``: where samples come from, what answers them, and what it costs."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from walle_deploy.cloud.costs import Price
from walle_deploy.cloud.models import SessionModel, model_of
from walle_deploy.cloud.sample import Signature
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.store import CloudStore
from walle_deploy.cloud.work import CloudTask
from walle_deploy.errors import CloudError
from walle_deploy.task.config import parse
from walle_deploy.task.structure import problems

MAX_BYTES = 1 << 20
_Positive = Annotated[float, Meta(gt=0)]


class TaskText(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One task.

    Attributes:
        model: that answers: a model file, the folder of a task, or ``module:function``.
        declared: walle.toml of the task on devices; says name, stream, and what samples hold.
        name, stream: where there is no such file.
        inputs: input of the sample -> input of the model file, where the names differ.
    """

    model: str
    declared: str = ""
    name: str = ""
    stream: str = ""
    inputs: dict[str, str] = {}


class PriceText(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What an hour of one processor core, and 10**9 bytes, cost."""

    cpu_hour: Annotated[float, Meta(ge=0)] = 0.0
    gb: Annotated[float, Meta(ge=0)] = 0.0
    currency: Annotated[str, Meta(max_length=8)] = "EUR"


class CloudText(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All of the file. Paths are relative to its folder.

    Attributes:
        task: whose samples are answered.
        sink: of the tunnel: a file, ``nats://`` or ``postgresql://``.
        database: of answers and counts.
        server: folder of the deployment server, whose secret makes the devices' tokens.
        processes: that run the models; 0: a thread.
        batch, seconds, keep_days: see `CloudService`.
    """

    task: Annotated[list[TaskText], Meta(min_length=1)]
    sink: str = "tunnel.db"
    database: str = "sqlite:///cloud.db"
    server: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8712
    cert: str = ""
    key: str = ""
    processes: Annotated[int, Meta(ge=0, le=256)] = 0
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 32
    seconds: _Positive = 60.0
    keep_days: _Positive = 30.0
    price: PriceText = PriceText()


def read(path: Path) -> CloudText:
    """The file. Raises CloudError that names every field that is wrong, and how."""
    try:
        raw = tomllib.loads(path.read_bytes()[:MAX_BYTES].decode())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CloudError(f"{path}: cannot be read: {error}") from error
    if found := list(problems(raw, CloudText)):
        raise CloudError("\n".join(f"{path}: {problem}" for problem in found))
    return msgspec.convert(raw, CloudText)


def price_of(text: PriceText) -> Price:
    """As the service wants it."""
    return Price(text.cpu_hour / 3600, text.gb, text.currency)


def store_of(text: CloudText, folder: Path) -> CloudStore:
    """The database that the file names. Raises CloudError."""
    scheme, slashes, rest = text.database.partition(":///")
    if scheme == "sqlite" and slashes:
        return CloudStore.open(f"sqlite:///{folder / rest}")
    return CloudStore.open(text.database)


def service_of(text: CloudText, folder: Path) -> CloudService:
    """The service that the file describes. Raises WalleError."""
    from walle_pipeline.tunnel.sinks import sink_for

    tasks = [_task(task, folder) for task in text.task]
    where = text.sink if "://" in text.sink else str(folder / text.sink)
    executor: Callable[[], Executor] | None = None
    if text.processes:
        context = get_context("spawn")
        executor = lambda: ProcessPoolExecutor(text.processes, context)  # noqa: E731
    return CloudService(
        sink_for(where),
        tasks,
        store_of(text, folder),
        executor=executor,
        batch=text.batch,
        parallel=max(1, text.processes),
        seconds=text.seconds,
        price=price_of(text.price),
        keep_days=text.keep_days,
    )


def authenticate_of(text: CloudText, folder: Path) -> Callable[[str, str], bool]:
    """Whether a token (second) is a device's (first): by the deployment server's secret; without it no token is good."""
    from walle_deploy.server.auth import is_device_token
    from walle_deploy.server.folder import secret

    if not text.server:
        return lambda device, token: False
    found = secret(folder / text.server)
    return lambda device, token: is_device_token(found, device, token)


def _task(text: TaskText, folder: Path) -> CloudTask:
    name, stream, signature = text.name, text.stream, None
    if text.declared:
        path = folder / text.declared
        try:
            config = parse(path.read_bytes(), str(path))
        except OSError as error:
            raise CloudError(f"{path}: cannot be read: {error.strerror}") from error
        signature = Signature.of(config)
        assert config.cloud is not None
        name, stream = name or config.task.name, stream or config.cloud.stream
    if not name or not stream:
        raise CloudError(
            f"task {name or text.model!r}: say `declared`, the walle.toml of the task, or `name` and `stream`"
        )
    model: Any = model_of(str(folder / text.model) if (folder / text.model).exists() else text.model)
    if isinstance(model, SessionModel) and text.inputs:
        model = SessionModel(model.path, tuple(text.inputs.items()))
    return CloudTask(name, stream, model, signature)
