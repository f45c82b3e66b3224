"""Models that a process loads once and all of its tasks share: the packed weights lie in one memory file, which each session maps
read-only; intermediate values are each session's own, so that sessions run side by side.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError, UnsupportedError
from walle_core.vm import _system

if TYPE_CHECKING:
    from walle_core.protocols import Preprocessing
    from walle_core.session import Session

Ask = Callable[[str], "Tensor | None"]

_models: dict[str, SharedModel] = {}  # of the main interpreter
_ask: list[Ask] = []  # in a worker process: asks its host


class SharedModel:
    """A model that tasks can open by name, until it is closed. What they have opened by then stays.

    Attributes:
        name: what tasks call it.
        nbytes: of the memory file: weights, and how to run them.
    """

    def __init__(self, name: str, file: int) -> None:
        from walle_core.vm.sharing import mapped

        self.name, self.nbytes = name, os.fstat(file).st_size
        failed = _system.publish(name.encode(), file)
        self.tensor = mapped(file, self.nbytes, "uint8", (self.nbytes,), writable=False)
        if failed:
            raise OSError(-failed, f"the model {name!r} cannot be shared")
        _models[name] = self

    def close(self) -> None:
        """Takes the name back."""
        if _models.get(self.name) is self:
            del _models[self.name]
            _system.withdraw(self.name.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def share_model(
    name: str,
    model: Any,
    backend: str | Sequence[str] | None = None,
    threads: int = 1,
    precision: str = "high",
    exact: bool = False,
) -> SharedModel:
    """Loads a model and lets the tasks of this process, of every isolation, open it as `shared_model(name)`.

    Tasks need no grant of its file, and every task may open it.

    Args:
        name: another model of that name is replaced.
        model: path of a model file, a Graph, or a Session, whose options then hold.
        backend, threads, precision, exact: as of Session.

    Raises:
        UnsupportedError: its plan cannot be shared: it has several parts, changing shapes, or is a device's; or this system has no
            memory files.
    """
    from walle_core.session import Session

    if not hasattr(os, "memfd_create"):
        raise UnsupportedError(
            "models are shared in memory files, which Linux has; open them in each task by Session"
        )
    from walle_core.vm.sharing import sealed

    session = (
        model if isinstance(model, Session) else Session(model, backend, threads, precision, exact=exact)
    )
    image = session.image()
    if image is None:
        raise UnsupportedError(
            f"the plan of model {name!r} cannot be shared, as it has several parts, changing shapes, or runs on {session.backends}; "
            "give backend= one that runs all of it, or open it in each task by Session"
        )
    return SharedModel(name, sealed(image.written(), f"walle-model-{name}"[:200]))


def shared_model(
    name: str, check_finite: bool = False, preprocess: Mapping[str, Preprocessing] | None = None
) -> Session:
    """A new Session on a model that the host has shared: it holds the memory of intermediate values, not of weights. Keep it in a
    global; runs of one session wait for each other.

    Args:
        name: as given to `share_model`.
        check_finite, preprocess: as of Session.

    Raises:
        InputError: nothing is shared by that name.
    """
    from walle_core.planimage import opened
    from walle_core.session import Session

    return Session(opened(_image(name)), check_finite=check_finite, preprocess=preprocess)


def _image(name: str) -> memoryview:
    if _ask:
        found = _ask[0](name)
        if found is not None:
            return memoryview(found)
    file = _system.published(name.encode())
    if file < 0:
        raise InputError(
            f"no model is shared as {name!r}; the host is to call walle_core.vm.share_model({name!r}, ...) first"
        )
    try:
        area = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(file)
    with suppress(OSError, AttributeError):  # where the system has them for shared memory
        area.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(area)


def asking(ask: Ask) -> None:
    """In a worker process: how to ask the host for a model."""
    _ask[:] = [ask]


def tensor(name: str) -> Tensor | None:
    """The memory of a shared model, for a worker process."""
    found = _models.get(name)
    return None if found is None else found.tensor


def nbytes() -> int:
    """Of all shared models."""
    return sum(model.nbytes for model in _models.values())
