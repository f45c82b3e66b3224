"""OpenCL compute backend: the kernels of walle_core.backends.device on any vendor's driver."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from walle_core.errors import BackendError
from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.backends.device.contract import OpenDevice
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["open_device", "walle_register_backends"]


def open_device() -> OpenDevice | None:
    """The device that ``WALLE_OPENCL_DEVICE`` names (part of its name or of its platform's, or ``none``), else the first
    GPU, else the first processor; None, with the reason in the log ``walle.opencl``, where none can be used.

    Raises BackendError if the variable names a device that is not there or too small.
    """
    from walle_core.backends.device.opening import first_usable

    return first_usable("OpenCL", "WALLE_OPENCL_DEVICE", _devices)


def _devices() -> list[tuple[str, Any]]:
    import pyopencl as cl

    from walle_backend_opencl.device import OpenCLDevice

    try:
        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:  # no ICD is installed
        raise BackendError(
            f"no OpenCL driver ({error}); install your device's, or PoCL for processors"
        ) from error
    found.sort(key=lambda d: not d.type & cl.device_type.GPU)
    return [(f"{d.name.strip()} on {d.platform.name}", partial(OpenCLDevice, d)) for d in found]


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``opencl``; the driver is loaded when its devices are first asked for."""
    from walle_core.backends.device.backend import DeviceBackend
    from walle_core.installed import version_of

    registry.add(DeviceBackend("opencl", version_of("walle-backend-opencl"), open_device))
