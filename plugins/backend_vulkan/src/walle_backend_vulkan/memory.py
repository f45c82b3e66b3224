"""Buffers with memory of their own, device-local or visible to the host."""

from __future__ import annotations

from typing import Any

import vulkan as vk

from walle_backend_vulkan.api import NULL, check, ffi, lib, make, struct

LOCAL = vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
VISIBLE = vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
USAGE = (
    vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
    | vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
    | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
)


class Memory:
    """One buffer and its memory.

    Args:
        device: VkDevice.
        types: property flags per memory type.
        nbytes: size.
        visible: mapped for the host; else device-local.

    Attributes:
        buffer: VkBuffer.
        mapped: pointer to its bytes, NULL if it is not visible.
        made: bytes allocated and not freed, of all instances.
    """

    made = 0

    def __init__(self, device: Any, types: list[int], nbytes: int, visible: bool) -> None:
        self._device, self.nbytes = device, nbytes
        self.buffer = self.memory = self.mapped = NULL
        doing = f"taking {nbytes} bytes of memory"
        info = struct(
            "VkBufferCreateInfo", size=nbytes, usage=USAGE, sharingMode=vk.VK_SHARING_MODE_EXCLUSIVE
        )
        self.buffer = make("VkBuffer", lib.vkCreateBuffer, device, info, doing)
        try:
            self._bind(types, visible, doing)
        except BaseException:
            self.free()
            raise

    def _bind(self, types: list[int], visible: bool, doing: str) -> None:
        needs = ffi.new("VkMemoryRequirements*")
        lib.vkGetBufferMemoryRequirements(self._device, self.buffer, needs)
        fits = [i for i in range(len(types)) if needs.memoryTypeBits >> i & 1]
        wanted = VISIBLE if visible else LOCAL
        chosen = next((i for i in fits if types[i] & wanted == wanted), fits[0])
        info = struct("VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=chosen)
        self.memory = make("VkDeviceMemory", lib.vkAllocateMemory, self._device, info, doing)
        Memory.made += self.nbytes
        check(lib.vkBindBufferMemory(self._device, self.buffer, self.memory, 0), doing)
        if types[chosen] & VISIBLE == VISIBLE:
            out = ffi.new("void**")
            check(lib.vkMapMemory(self._device, self.memory, 0, self.nbytes, 0, out), doing)
            self.mapped = out[0]

    def write(self, offset: int, data: Any, nbytes: int) -> None:
        """Copies from the host."""
        ffi.memmove(self.mapped + offset, data, nbytes)

    def read(self, offset: int, target: Any, nbytes: int) -> None:
        """Copies to the host."""
        ffi.memmove(target, self.mapped + offset, nbytes)

    def free(self) -> None:
        """Gives the memory back; twice is allowed."""
        if self.memory != NULL:
            lib.vkFreeMemory(self._device, self.memory, NULL)
            Memory.made -= self.nbytes
        if self.buffer != NULL:
            lib.vkDestroyBuffer(self._device, self.buffer, NULL)
        self.buffer = self.memory = self.mapped = NULL
