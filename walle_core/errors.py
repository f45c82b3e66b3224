"""What can go wrong, each kind with its own class under `WalleError`.

A message says what was wrong, where (file, node, value) and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar


class WalleError(Exception):
    """Base of every error that Walle raises on purpose."""


class ModelError(WalleError):
    """A model file or graph is malformed, hostile or inconsistent."""


class ShapeError(ModelError):
    """Shapes or dtypes of a node's operands do not fit the operator's rule."""


class UnsupportedError(WalleError):
    """A well-formed request that nothing installed can serve."""


class InputError(WalleError):
    """An input to a run has the wrong name, dtype, shape or content."""


class PluginError(WalleError):
    """A plugin broke the contract (ABI number, duplicate name, missing method)."""


class BackendError(WalleError):
    """A backend that accepted a graph failed to prepare or run it."""


class DeviceError(BackendError):
    """A device failed at work that it had accepted. The same work may succeed on another device.

    A backend raises it, or a more exact kind, from `devices`, `calibrate`, `candidates`, `prepare` or `run`; the message
    says what the driver said. Whoever called the backend adds who it was.

    Attributes:
        backend, device: who failed; "" until the caller has added them.
    """

    backend: str = ""
    device: str = ""


class DeviceLostError(DeviceError):
    """A device is gone: unplugged, reset, its driver stopped, or it no longer answers."""


class DeviceMemoryError(DeviceError):
    """A device has not enough memory for a graph or a run."""


class GradientError(WalleError):
    """A result is no differentiable function of what is to be trained; the message names the operator in between."""


class DivergedError(WalleError):
    """A loss or a gradient is not finite; the message names the first operator that made such a value."""


class CheckpointError(WalleError):
    """No checkpoint can be read: they are missing, damaged, or of another training."""


class StoppedError(WalleError):
    """A native loop gave up because its task was told to stop: by its time limit, or by who cancelled it."""


class CacheError(WalleError):
    """The cache directory cannot be read or written; never fatal for a run."""


E = TypeVar("E", bound=WalleError)


@contextmanager
def locating(where: str) -> Iterator[None]:
    """Whatever is raised inside comes out `located`."""
    try:
        yield
    except Exception as error:
        raise located(error, where) from error


def located(error: Exception, where: str) -> WalleError:
    """What `error` is for a caller: a WalleError that names `where` (the file), whatever was raised there.

    An error that names the place already stays as it is.
    """
    if isinstance(error, WalleError):
        if not where or where in str(error):
            return error
        return reworded(error, f"{where}: {error}")
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        named: WalleError = BackendError(
            f"{where}: there is not enough memory{detail}; use smaller inputs or a smaller model"
        )
    else:
        named = BackendError(
            f"{where}: failed in an unexpected way ({type(error).__name__}: {error}); please report this as a bug"
        )
    named.__cause__ = error
    return named


def reworded(error: E, text: str) -> E:
    """An error of the same kind and with the same attributes, caused by `error`, that says `text`."""
    made = type(error).__new__(type(error), text)  # whatever its constructor wants
    vars(made).update(vars(error))
    made.__cause__ = error
    return made


def blamed(error: DeviceError | MemoryError, backend: str, device: str) -> DeviceError:
    """`error`, naming the backend and the device whose it is; a MemoryError as that of the device."""
    if isinstance(error, MemoryError):
        error = DeviceMemoryError(
            f"there is not enough memory{f' ({error})' if str(error) else ''}; use smaller inputs or a smaller model"
        )
    if error.backend:
        return error
    made = reworded(error, f"backend {backend!r} on {device or 'its device'}: {error}")
    made.backend, made.device = backend, device
    return made
