"""What can go wrong, each kind with its own class under `WalleError`.

A message says what was wrong, where (file, node, value) and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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


class CacheError(WalleError):
    """The cache directory cannot be read or written; never fatal for a run."""


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
        named: WalleError = type(error)(f"{where}: {error}")
    elif isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        named = BackendError(
            f"{where}: there is not enough memory{detail}; use smaller inputs or a smaller model"
        )
    else:
        named = BackendError(
            f"{where}: failed in an unexpected way ({type(error).__name__}: {error}); please report this as a bug"
        )
    named.__cause__ = error
    return named
