"""Vulkan compute backend: the kernels of walle_core.backends.device as SPIR-V, one submission per run."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.backends.device.contract import OpenDevice
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["open_device", "walle_register_backends"]


def open_device() -> OpenDevice | None:
    """The device that ``WALLE_VULKAN_DEVICE`` names (part of its name, or ``none``), else the first discrete GPU, the
    first integrated one, or whatever there is; None, with the reason in the log ``walle.vulkan``, where none can be used.

    Raises BackendError if the variable names a device that is not there or too small.
    """
    from walle_core.backends.device.opening import first_usable

    return first_usable("Vulkan", "WALLE_VULKAN_DEVICE", _devices)


def _devices() -> list[tuple[str, Any]]:
    from walle_backend_vulkan.api import ffi
    from walle_backend_vulkan.device import VulkanDevice, open_instance, physical_devices, properties_of

    instance = open_instance(validate=os.environ.get("WALLE_VULKAN_VALIDATE", "") not in {"", "0"})
    found = physical_devices(instance)
    names = [ffi.string(properties_of(d)[0].properties.deviceName).decode() for d in found]
    return [(name, partial(VulkanDevice, instance, d)) for name, d in zip(names, found, strict=True)]


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``vulkan``; the driver is loaded when its devices are first asked for."""
    from walle_core.backends.device.backend import DeviceBackend
    from walle_core.installed import version_of

    registry.add(DeviceBackend("vulkan", version_of("walle-backend-vulkan"), open_device))
