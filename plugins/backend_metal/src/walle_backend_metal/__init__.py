"""Metal compute backend: the kernels of walle_core.backends.device in the Metal shading language, for Apple GPUs."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from walle_core.errors import BackendError
from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.backends.device.contract import OpenDevice
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["open_device", "walle_register_backends"]


def open_device() -> OpenDevice | None:
    """The device that ``WALLE_METAL_DEVICE`` names (part of its name, or ``none``), else the first that is not a low-power
    one; None where there is none, with the reason in the log ``walle.metal`` if the machine is a Mac.

    Raises BackendError if the variable names a device that is not there or too small.
    """
    from walle_core.backends.device.opening import first_usable

    if not _mac() and "WALLE_METAL_DEVICE" not in os.environ:
        return None
    return first_usable("Metal", "WALLE_METAL_DEVICE", _devices)


def _mac() -> bool:
    """Whether Metal may be here: nowhere else there is anything to tell about it."""
    return sys.platform == "darwin" or find_spec("Metal") is not None


def _devices() -> list[tuple[str, Any]]:
    try:
        import Metal
    except ImportError as error:
        if not _mac():
            return []
        raise BackendError(f"no module Metal ({error}); pip install pyobjc-framework-Metal") from error
    from walle_backend_metal.device import MetalDevice

    found = sorted(Metal.MTLCopyAllDevices() or (), key=lambda device: bool(device.isLowPower()))
    return [(str(device.name()), partial(MetalDevice, device)) for device in found]


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``metal`` where Metal may be; Metal is loaded when its devices are first asked for."""
    if not _mac():
        return
    from walle_core.backends.device.backend import DeviceBackend
    from walle_core.installed import version_of

    registry.add(DeviceBackend("metal", version_of("walle-backend-metal"), open_device))
