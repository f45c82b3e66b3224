"""The Vulkan functions as plain calls of the driver, with results that are checked."""

from __future__ import annotations

import re
from typing import Any

import vulkan as vk

from walle_core.errors import DeviceError, DeviceLostError, DeviceMemoryError

ffi, lib = vk.ffi, vk.lib
NULL = ffi.NULL
WHOLE = 2**64 - 1  # the package's VK_WHOLE_SIZE is -1, which its own calls refuse
MEMORY = (vk.VK_ERROR_OUT_OF_HOST_MEMORY, vk.VK_ERROR_OUT_OF_DEVICE_MEMORY, vk.VK_ERROR_TOO_MANY_OBJECTS)
LOST = (vk.VK_ERROR_DEVICE_LOST, vk.VK_ERROR_INITIALIZATION_FAILED)


def check(result: int, doing: str) -> None:
    """Raises DeviceMemoryError, DeviceLostError or DeviceError unless a call succeeded."""
    if result in (vk.VK_SUCCESS, vk.VK_INCOMPLETE):
        return
    kind = DeviceMemoryError if result in MEMORY else DeviceLostError if result in LOST else DeviceError
    names = {v: k for k, v in vars(vk).items() if k.startswith("VK_ERROR_") and isinstance(v, int)}
    raise kind(f"Vulkan: {doing} failed ({names.get(result, result)})")


def make(kind: str, create: Any, owner: Any, info: Any, doing: str) -> Any:
    """A handle from one of the vkCreate or vkAllocate functions."""
    out = ffi.new(f"{kind}*")
    check(create(owner, info, NULL, out), doing)
    return out[0]


def listed(kind: str, function: Any, *owner: Any) -> list[Any]:
    """All items of one of the functions that give a count first."""
    count = ffi.new("uint32_t*")
    function(*owner, count, NULL)
    items = ffi.new(f"{kind}[]", max(1, count[0]))
    function(*owner, count, items)
    return (
        list(items)[: count[0]]
        if kind.startswith("VkPhysicalDevice")
        else [items[i] for i in range(count[0])]
    )


def struct(kind: str, **fields: Any) -> Any:
    """A new struct with its type set; keep it, and what its fields point to, until the call that reads it is done."""
    words = (
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=[0-9]+(B|$))", "_", kind[2:])
        .replace("8_Bit", "8Bit")
        .replace("16_Bit", "16Bit")
    )
    return ffi.new(f"{kind}*", {"sType": getattr(vk, f"VK_STRUCTURE_TYPE_{words.upper()}"), **fields})
