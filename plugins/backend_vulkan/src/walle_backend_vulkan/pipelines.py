"""Pipelines of one device: shared between images, and the driver's cache of them kept on disk."""

from __future__ import annotations

import hashlib
from typing import Any

import vulkan as vk

from walle_backend_vulkan.api import NULL, check, ffi, lib, make, struct
from walle_backend_vulkan.prune import pruned
from walle_backend_vulkan.spirv import join, module, split, with_rules
from walle_backend_vulkan.writer import LOCAL_IDS, module_name
from walle_core.backends.device.contract import Built
from walle_core.backends.device.source import kernel
from walle_core.cache import cache_folder, warn_once, write_atomically
from walle_core.errors import CacheError
from walle_core.files import read_regular

PUSH_BYTES = 128
DIGEST, MAX_BYTES = 32, 1 << 28


class Pipelines:
    """Builds pipelines and layouts.

    Args:
        device: VkDevice.
        key: names device and driver; what is kept belongs to it.
        rules: float rules that go into every module.
    """

    def __init__(self, device: Any, key: str, rules: list[tuple[int, int]]) -> None:
        self._device, self._rules = device, rules
        self._path = cache_folder() / "vulkan" / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.bin"
        self._layouts: dict[int, tuple[Any, Any]] = {}
        self._made: dict[Built, Any] = {}
        self._kept = 0
        data = self._read()
        info = struct(
            "VkPipelineCacheCreateInfo", initialDataSize=len(data), pInitialData=ffi.from_buffer(data)
        )
        self._cache = make(
            "VkPipelineCache", lib.vkCreatePipelineCache, device, info, "making the cache of pipelines"
        )

    def layout(self, buffers: int) -> tuple[Any, Any]:
        """(set layout, pipeline layout) of kernels with so many buffers."""
        if buffers not in self._layouts:
            stage = vk.VK_SHADER_STAGE_COMPUTE_BIT
            kind = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
            bindings = ffi.new(
                "VkDescriptorSetLayoutBinding[]",
                [
                    {"binding": i, "descriptorType": kind, "descriptorCount": 1, "stageFlags": stage}
                    for i in range(buffers)
                ],
            )
            info = struct("VkDescriptorSetLayoutCreateInfo", bindingCount=buffers, pBindings=bindings)
            doing = "making a layout"
            sets = make("VkDescriptorSetLayout", lib.vkCreateDescriptorSetLayout, self._device, info, doing)
            push = ffi.new("VkPushConstantRange*", {"stageFlags": stage, "offset": 0, "size": PUSH_BYTES})
            held = ffi.new("VkDescriptorSetLayout[]", [sets])
            info = struct(
                "VkPipelineLayoutCreateInfo", setLayoutCount=1, pSetLayouts=held, pushConstantRangeCount=1, pPushConstantRanges=push,
            )  # fmt: skip
            whole = make("VkPipelineLayout", lib.vkCreatePipelineLayout, self._device, info, doing)
            self._layouts[buffers] = (sets, whole)
        return self._layouts[buffers]

    def pipeline(self, built: Built) -> Any:
        """The pipeline of a kernel."""
        if built not in self._made:
            self._made[built] = self._build(built)
        return self._made[built]

    def _build(self, built: Built) -> Any:
        numbers = {LOCAL_IDS + i: value for i, (_, value) in enumerate(built.constants)}
        header, instructions = split(module(module_name(built.name, dict(built.variants))))
        code = join(header, with_rules(pruned(instructions, numbers), self._rules))
        words = ffi.from_buffer("uint32_t[]", code)
        info = struct("VkShaderModuleCreateInfo", codeSize=len(code), pCode=words)
        doing = f"building kernel {built.name}"
        shader = make("VkShaderModule", lib.vkCreateShaderModule, self._device, info, doing)
        values = ffi.new("int32_t[]", [*built.local, *(value for _, value in built.constants)])
        ids = [*range(3), *range(LOCAL_IDS, LOCAL_IDS + len(built.constants))]
        entries = ffi.new(
            "VkSpecializationMapEntry[]",
            [{"constantID": n, "offset": 4 * i, "size": 4} for i, n in enumerate(ids)],
        )
        fixed = ffi.new(
            "VkSpecializationInfo*",
            {"mapEntryCount": len(ids), "pMapEntries": entries, "dataSize": 4 * len(ids), "pData": values},
        )
        main = ffi.new("char[]", b"main")
        info = struct("VkComputePipelineCreateInfo", layout=self.layout(len(kernel(built.name).buffers))[1])
        info.stage.sType = vk.VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO
        info.stage.stage, info.stage.module = vk.VK_SHADER_STAGE_COMPUTE_BIT, shader
        info.stage.pName, info.stage.pSpecializationInfo = main, fixed
        out = ffi.new("VkPipeline*")
        try:
            check(lib.vkCreateComputePipelines(self._device, self._cache, 1, info, NULL, out), doing)
        finally:
            lib.vkDestroyShaderModule(self._device, shader, NULL)
        return out[0]

    def keep(self) -> None:
        """Writes the driver's cache to disk if pipelines were made since the last time."""
        if len(self._made) == self._kept:
            return
        self._kept = len(self._made)
        size = ffi.new("size_t*")
        check(
            lib.vkGetPipelineCacheData(self._device, self._cache, size, NULL),
            "reading the cache of pipelines",
        )
        data = ffi.new("char[]", max(1, size[0]))
        check(
            lib.vkGetPipelineCacheData(self._device, self._cache, size, data),
            "reading the cache of pipelines",
        )
        body = bytes(ffi.buffer(data, size[0]))
        try:
            write_atomically(self._path, [hashlib.sha256(body).digest(), body])
        except OSError as error:
            warn_once(
                f"cannot keep built kernels in {cache_folder()} ({error}); they will be built again next time"
            )

    def _read(self) -> bytes:
        try:
            data = read_regular(self._path, MAX_BYTES)
        except (OSError, CacheError):
            return b""
        body = data[DIGEST:]
        return body if hashlib.sha256(body).digest() == data[:DIGEST] else b""
