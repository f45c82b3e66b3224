"""OpenCL compute backend: the kernels of walle_core.backends.device on any vendor's driver."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from walle_core.errors import BackendError, WalleError
from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["open_device", "walle_register_backends"]


def _tell(why: str) -> None:
    if "logging" in sys.modules:  # nobody shows the log of a program that has not imported it
        sys.modules["logging"].getLogger(__name__).warning("OpenCL is not used: %s", why)


def open_device() -> Any:
    """The device that ``WALLE_OPENCL_DEVICE`` names (part of its name or of its platform's, or ``none``), else the first
    GPU, else the first processor; None, with the reason in the log, where none can be used.

    Raises BackendError if the variable names a device that is not there or too small.
    """
    wanted = os.environ.get("WALLE_OPENCL_DEVICE", "")
    if wanted == "none":
        return None
    try:
        return _open(wanted)
    except BackendError as error:
        if wanted:
            raise
        _tell(str(error))
    except Exception as error:  # a driver that fails to load raises what it likes
        _tell(f"{type(error).__name__}: {error}")
    return None


def _open(wanted: str) -> Any:
    import pyopencl as cl

    from walle_backend_opencl.device import MIN_ITEMS, OpenCLDevice

    try:
        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:  # no ICD is installed
        raise BackendError(
            f"no OpenCL driver ({error}); install your device's, or PoCL for processors"
        ) from error
    found.sort(key=lambda d: not d.type & cl.device_type.GPU)
    names = [f"{d.name.strip()} on {d.platform.name}" for d in found]
    why = []
    for device, name in zip(found, names, strict=True):
        if wanted.lower() not in name.lower():
            continue
        if device.max_work_group_size < MIN_ITEMS:
            why.append(
                f"{name} has work groups of at most {device.max_work_group_size} items, {MIN_ITEMS} are needed"
            )
            continue
        try:
            return OpenCLDevice(device)
        except WalleError as error:
            why.append(str(error))
    raise BackendError(
        "; ".join(why) or f"no device matches {wanted!r}; there are: {', '.join(names) or 'none'}"
    )


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``opencl``; the driver is loaded when its devices are first asked for."""
    from walle_core.backends.device.backend import DeviceBackend

    registry.add(DeviceBackend("opencl", _version(), open_device))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("walle-backend-opencl")
    except PackageNotFoundError:  # imported from a source folder
        return "0"
