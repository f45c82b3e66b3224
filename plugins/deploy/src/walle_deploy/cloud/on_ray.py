"""Runs the larger models on a Ray cluster, where ray is installed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from importlib import import_module
from typing import Any

from walle_deploy.errors import CloudError


class RayExecutor(Executor):
    """An executor whose calls are Ray tasks; connects to the cluster that RAY_ADDRESS names, or starts one here.

    Arguments:
        options: of each call, for example ``num_cpus=4`` or ``num_gpus=1``.

    Raises CloudError if ray is not installed or there is no cluster.
    """

    def __init__(self, **options: Any) -> None:
        try:
            ray: Any = import_module("ray")
            if not ray.is_initialized():
                ray.init(log_to_driver=False)
        except ImportError as error:
            raise CloudError("ray is not installed: pip install ray, or use processes") from error
        except Exception as error:
            raise CloudError(f"ray: {error}"[:500]) from error
        options.setdefault("num_cpus", 1)
        self._call = ray.remote(_call).options(max_retries=0, **options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See concurrent.futures.Executor. A call whose worker dies raises what Ray raises."""
        made: Future[Any] = self._call.remote(fn, args, kwargs).future()
        return made


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)
