"""Vulkan compute backend: the kernels of walle_core.backends.device as SPIR-V, one submission per run."""

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
        sys.modules["logging"].getLogger(__name__).warning("Vulkan is not used: %s", why)


def open_device() -> Any:
    """The device that ``WALLE_VULKAN_DEVICE`` names (part of its name, or ``none``), else the first discrete GPU, the
    first integrated one, or whatever there is; None, with the reason in the log, where none can be used.

    Raises BackendError if the variable names a device that is not there or too small.
    """
    wanted = os.environ.get("WALLE_VULKAN_DEVICE", "")
    if wanted == "none":
        return None
    try:
        return _open(wanted)
    except BackendError as error:
        if wanted:
            raise
        _tell(str(error))
    except Exception as error:  # a loader or driver that fails to load raises what it likes
        _tell(f"{type(error).__name__}: {error}")
    return None


def _open(wanted: str) -> Any:
    from walle_backend_vulkan.api import ffi
    from walle_backend_vulkan.device import VulkanDevice, open_instance, physical_devices, properties_of

    instance = open_instance(validate=os.environ.get("WALLE_VULKAN_VALIDATE", "") not in {"", "0"})
    why, names = [], []
    for physical in physical_devices(instance):
        name = ffi.string(properties_of(physical)[0].properties.deviceName).decode()
        names.append(name)
        if wanted.lower() not in name.lower():
            continue
        try:
            return VulkanDevice(instance, physical)
        except WalleError as error:
            why.append(f"{name}: {error}")
    raise BackendError(
        "; ".join(why) or f"no device matches {wanted!r}; there are: {', '.join(names) or 'none'}"
    )


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``vulkan``; the driver is loaded when its devices are first asked for."""
    from walle_core.backends.device.backend import DeviceBackend

    registry.add(DeviceBackend("vulkan", _version(), open_device))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("walle-backend-vulkan")
    except PackageNotFoundError:  # imported from a source folder
        return "0"
