"""An image in a device's memory: descriptor sets written once, one command buffer recorded once, submitted per run."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from struct import pack
from typing import TYPE_CHECKING, Any

import vulkan as vk

from walle_backend_vulkan.api import NULL, check, ffi, lib, make, struct
from walle_backend_vulkan.memory import Memory
from walle_core._native import Tensor
from walle_core.backends.device.contract import Image, Place, nbytes_of

if TYPE_CHECKING:
    from walle_backend_vulkan.device import VulkanDevice

COMPUTE, TRANSFER = vk.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, vk.VK_PIPELINE_STAGE_TRANSFER_BIT
HOST = vk.VK_PIPELINE_STAGE_HOST_BIT
BIND = vk.VK_PIPELINE_BIND_POINT_COMPUTE
TIMEOUT_NS = 60 * 10**9
STAGING = 1 << 24  # bytes of constants that are uploaded at once


class LoadedImage:
    """See `contract.Loaded`."""

    def __init__(self, owner: VulkanDevice, image: Image) -> None:
        self._owner, self._image, self._device = owner, image, owner.handle
        self._held = _Handles(owner)
        self._finalizer = weakref.finalize(self, self._held.free)
        align = owner.limits.align
        self._at = {
            space: _offsets([nbytes_of(t) for t in tensors], align)
            for space, tensors in (("input", image.inputs), ("output", image.outputs))
        }
        self._memory = {
            "arena": self._take(image.arena, False),
            "constant": self._take(image.constants, False),
        }
        self._copies: dict[str, tuple[Any, Any, int]] = {}
        self._host: dict[str, Any] = {}
        for space, (_, nbytes) in self._at.items():
            local = self._take(nbytes, False)
            self._memory[space] = self._host[space] = local
            if local.mapped == NULL:
                visible = self._host[space] = self._take(nbytes, True)
                ends = (visible, local) if space == "input" else (local, visible)
                self._copies[space] = (*ends, nbytes)
        self._upload()
        self._sets = self._describe()
        info = struct("VkFenceCreateInfo")
        self._held.fence = make("VkFence", lib.vkCreateFence, self._device, info, "making a fence")
        self._commands = self._record(NULL)
        self._timed: Any = None

    def _take(self, nbytes: int, visible: bool) -> Memory:
        memory = Memory(
            self._device, self._owner.memory_types, max(nbytes, self._owner.limits.align), visible
        )
        self._held.memory.append(memory)
        return memory

    def _upload(self) -> None:
        target = self._memory["constant"]
        for offset, tensor in self._image.uploads:
            if target.mapped != NULL:
                target.write(offset, _bytes_of(tensor), tensor.nbytes)
                continue
            data = memoryview(_bytes_of(tensor)).cast("B")
            staging = Memory(
                self._device, self._owner.memory_types, min(STAGING, max(tensor.nbytes, 4)), True
            )
            try:
                for start in range(0, tensor.nbytes, STAGING):
                    part = data[start : start + STAGING]
                    staging.write(0, part, len(part))
                    self._copy_now(staging, target, offset + start, len(part))
            finally:
                staging.free()

    def _copy_now(self, source: Memory, target: Memory, offset: int, nbytes: int) -> None:
        commands = self._begin()
        region = ffi.new("VkBufferCopy*", {"srcOffset": 0, "dstOffset": offset, "size": nbytes})
        lib.vkCmdCopyBuffer(commands, source.buffer, target.buffer, 1, region)
        check(lib.vkEndCommandBuffer(commands), "recording")
        self._submit(commands, "an upload")
        held = ffi.new("VkCommandBuffer[]", [commands])
        lib.vkFreeCommandBuffers(self._device, self._owner.commands, 1, held)

    def _describe(self) -> list[Any]:
        """One descriptor set per launch."""
        launches = self._image.launches
        if not launches:
            return []
        total = sum(len(step.places) for step in launches)
        kind = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
        size = ffi.new("VkDescriptorPoolSize*", {"type": kind, "descriptorCount": total})
        info = struct("VkDescriptorPoolCreateInfo", maxSets=len(launches), poolSizeCount=1, pPoolSizes=size)
        pool = make("VkDescriptorPool", lib.vkCreateDescriptorPool, self._device, info, "making descriptors")
        self._held.pool = pool
        layouts = ffi.new(
            "VkDescriptorSetLayout[]",
            [self._owner.pipelines.layout(len(step.places))[0] for step in launches],
        )
        info = struct(
            "VkDescriptorSetAllocateInfo",
            descriptorPool=pool,
            descriptorSetCount=len(launches),
            pSetLayouts=layouts,
        )
        sets = ffi.new("VkDescriptorSet[]", len(launches))
        check(lib.vkAllocateDescriptorSets(self._device, info, sets), "making descriptors")
        buffers = ffi.new("VkDescriptorBufferInfo[]", total)
        writes = ffi.new("VkWriteDescriptorSet[]", len(launches))
        at = 0
        for i, step in enumerate(launches):
            writes[i].sType = vk.VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET
            writes[i].dstSet, writes[i].descriptorCount, writes[i].descriptorType = (
                sets[i],
                len(step.places),
                kind,
            )
            writes[i].pBufferInfo = buffers + at
            for place in step.places:
                buffer, offset = self._where(place)
                buffers[at].buffer, buffers[at].offset, buffers[at].range = (
                    buffer,
                    offset,
                    -(-place.nbytes // 4) * 4,
                )
                at += 1
        lib.vkUpdateDescriptorSets(self._device, len(launches), writes, 0, NULL)
        return [sets[i] for i in range(len(launches))]

    def _where(self, place: Place) -> tuple[Any, int]:
        start = self._at[place.space][0][place.index] if place.space in self._at else 0
        return self._memory[place.space].buffer, start + place.offset

    def _begin(self) -> Any:
        info = struct(
            "VkCommandBufferAllocateInfo", commandPool=self._owner.commands,
            level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1,
        )  # fmt: skip
        out = ffi.new("VkCommandBuffer[1]")
        check(lib.vkAllocateCommandBuffers(self._device, info, out), "taking a command buffer")
        check(lib.vkBeginCommandBuffer(out[0], struct("VkCommandBufferBeginInfo")), "recording")
        return out[0]

    def _record(self, queries: Any) -> Any:
        """The command buffer of a run; with a query pool, timestamps around every launch."""
        commands = self._begin()
        self._held.commands.append(commands)
        if "input" in self._copies:
            self._copy(commands, "input")
            self._barrier(commands, TRANSFER, COMPUTE)
        if queries != NULL:
            lib.vkCmdResetQueryPool(commands, queries, 0, len(self._image.launches) + 1)
            lib.vkCmdWriteTimestamp(commands, vk.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries, 0)
        bound, held, push = None, ffi.new("VkDescriptorSet[1]"), ffi.new("char[128]")
        for i, step in enumerate(self._image.launches):
            if step.after or queries != NULL:
                self._barrier(commands, COMPUTE, COMPUTE)
            pipeline = self._owner.pipelines.pipeline(step.built)
            layout = self._owner.pipelines.layout(len(step.places))[1]
            if pipeline != bound:
                lib.vkCmdBindPipeline(commands, BIND, pipeline)
                bound = pipeline
            held[0] = self._sets[i]
            lib.vkCmdBindDescriptorSets(commands, BIND, layout, 0, 1, held, 0, NULL)
            data = b"".join(pack("<f" if isinstance(p, float) else "<i", p) for p in step.params)
            if data:
                ffi.memmove(push, data, len(data))
                lib.vkCmdPushConstants(commands, layout, vk.VK_SHADER_STAGE_COMPUTE_BIT, 0, len(data), push)
            lib.vkCmdDispatch(commands, *step.groups)
            if queries != NULL:
                lib.vkCmdWriteTimestamp(commands, vk.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries, i + 1)
        if "output" in self._copies:
            self._barrier(commands, COMPUTE, TRANSFER)
            self._copy(commands, "output")
        self._barrier(commands, TRANSFER | COMPUTE, HOST)
        check(lib.vkEndCommandBuffer(commands), "recording")
        return commands

    def _copy(self, commands: Any, space: str) -> None:
        source, target, nbytes = self._copies[space]
        region = ffi.new("VkBufferCopy*", {"srcOffset": 0, "dstOffset": 0, "size": nbytes})
        lib.vkCmdCopyBuffer(commands, source.buffer, target.buffer, 1, region)

    @staticmethod
    def _barrier(commands: Any, before: int, after: int) -> None:
        read = vk.VK_ACCESS_MEMORY_READ_BIT | vk.VK_ACCESS_MEMORY_WRITE_BIT
        barrier = struct("VkMemoryBarrier", srcAccessMask=vk.VK_ACCESS_MEMORY_WRITE_BIT, dstAccessMask=read)
        lib.vkCmdPipelineBarrier(commands, before, after, 0, 1, barrier, 0, NULL, 0, NULL)

    def _submit(self, commands: Any, doing: str) -> None:
        held = ffi.new("VkCommandBuffer[]", [commands])
        info = struct("VkSubmitInfo", commandBufferCount=1, pCommandBuffers=held)
        if self._held.fence is None:
            check(lib.vkQueueSubmit(self._owner.queue, 1, info, NULL), doing)
            check(lib.vkQueueWaitIdle(self._owner.queue), doing)
            return
        fences = ffi.new("VkFence[]", [self._held.fence])
        check(lib.vkQueueSubmit(self._owner.queue, 1, info, fences[0]), doing)
        result = vk.VK_TIMEOUT
        while result == vk.VK_TIMEOUT:
            result = lib.vkWaitForFences(self._device, 1, fences, 1, TIMEOUT_NS)
        check(result, doing)
        check(lib.vkResetFences(self._device, 1, fences), doing)

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs once: one submission."""
        self._owner.alive()
        with self._owner.lock:
            return self._run(self._commands, inputs)

    def _run(self, commands: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
        for start, tensor in zip(self._at["input"][0], inputs, strict=True):
            if tensor.nbytes:
                self._host["input"].write(start, _bytes_of(tensor), tensor.nbytes)
        self._submit(commands, "a run")
        made = [Tensor(sizes, dtype, zero=False) for dtype, sizes in self._image.outputs]
        for start, tensor in zip(self._at["output"][0], made, strict=True):
            if tensor.nbytes:
                self._host["output"].read(start, tensor, tensor.nbytes)
        return made

    def profile(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """(outputs, nanoseconds per launch)."""
        self._owner.alive()
        count = len(self._image.launches) + 1
        with self._owner.lock:
            if self._timed is None:
                info = struct("VkQueryPoolCreateInfo", queryType=vk.VK_QUERY_TYPE_TIMESTAMP, queryCount=count)
                self._held.queries = make("VkQueryPool", lib.vkCreateQueryPool, self._device, info, "timing")
                self._timed = self._record(self._held.queries)
            made = self._run(self._timed, inputs)
            stamps = ffi.new("uint64_t[]", count)
            flags = vk.VK_QUERY_RESULT_64_BIT | vk.VK_QUERY_RESULT_WAIT_BIT
            result = lib.vkGetQueryPoolResults(
                self._device, self._held.queries, 0, count, 8 * count, stamps, 8, flags
            )
            check(result, "reading times")
        period = self._owner.period
        return made, [int((stamps[i + 1] - stamps[i]) * period) for i in range(count - 1)]


class _Handles:
    """What an image holds of the driver, freed when the image goes."""

    def __init__(self, owner: VulkanDevice) -> None:
        self.owner = owner
        self.memory: list[Memory] = []
        self.commands: list[Any] = []
        self.pool = self.fence = self.queries = None

    def free(self) -> None:
        device, owner = self.owner.handle, self.owner
        if owner.forked():
            return
        with owner.lock:
            for commands in self.commands:
                lib.vkFreeCommandBuffers(device, owner.commands, 1, ffi.new("VkCommandBuffer[]", [commands]))
            if self.pool is not None:
                lib.vkDestroyDescriptorPool(device, self.pool, NULL)
            if self.fence is not None:
                lib.vkDestroyFence(device, self.fence, NULL)
            if self.queries is not None:
                lib.vkDestroyQueryPool(device, self.queries, NULL)
            for memory in self.memory:
                memory.free()


def _offsets(sizes: Sequence[int], align: int) -> tuple[list[int], int]:
    """(where each begins, bytes in all)."""
    starts, at = [], 0
    for size in sizes:
        starts.append(at)
        at += -(-max(size, 4) // align) * align
    return starts, max(at, align)


def _bytes_of(tensor: Tensor) -> Any:
    try:
        return ffi.from_buffer(tensor)
    except (TypeError, BufferError):  # a dtype that the buffer protocol has no name for
        return tensor.tobytes()
