"""An open Vulkan device: instance, what it may be asked for, queue, pipelines."""

from __future__ import annotations

import os
import threading
from typing import Any

import vulkan as vk

from walle_backend_vulkan.api import NULL, check, ffi, lib, listed, make, struct
from walle_backend_vulkan.loaded import LoadedImage
from walle_backend_vulkan.pipelines import Pipelines
from walle_backend_vulkan.spirv import KEEP_SPECIAL, KEEP_SUBNORMALS
from walle_core.backends.device.contract import Image, Limits
from walle_core.backends.device.opening import forked
from walle_core.errors import DeviceError
from walle_core.types import Device

VERSION = vk.VK_MAKE_VERSION(1, 1, 0)
MIN_ITEMS, MIN_PUSH = 64, 128
UNITS = {vk.VK_PHYSICAL_DEVICE_TYPE_CPU: 2}
LOAD = 88.0  # measured on lavapipe: a load goes item by item, with a check of each address
DISCRETE_UNITS = 4096  # items that keep a GPU busy; Vulkan does not tell how many units there are
LAYER = "VK_LAYER_KHRONOS_validation"


def open_instance(validate: bool = False) -> Any:
    """A VkInstance. Raises DeviceError if there is no driver."""
    names = [ffi.new("char[]", LAYER.encode())] if validate else []
    layers = ffi.new("char*[]", names)
    extensions = [ffi.new("char[]", b"VK_EXT_debug_utils")] if validate else []
    held = ffi.new("char*[]", extensions)
    app = struct("VkApplicationInfo", apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))
    info = struct(
        "VkInstanceCreateInfo", pApplicationInfo=app, enabledLayerCount=len(names), ppEnabledLayerNames=layers,
        enabledExtensionCount=len(extensions), ppEnabledExtensionNames=held,
    )  # fmt: skip
    out = ffi.new("VkInstance*")
    check(lib.vkCreateInstance(info, NULL, out), "opening the driver")
    return out[0]


def properties_of(physical: Any) -> tuple[Any, Any, Any]:
    """(VkPhysicalDeviceProperties2, float controls, subgroups) of a device; hold the first as long as its parts."""
    groups = struct("VkPhysicalDeviceSubgroupProperties")
    floats = struct("VkPhysicalDeviceFloatControlsProperties", pNext=groups)
    both = struct("VkPhysicalDeviceProperties2", pNext=floats)
    lib.vkGetPhysicalDeviceProperties2(physical, both)
    return both, floats, groups


class VulkanDevice:
    """A device with a queue of its own.

    Args:
        instance: VkInstance; physical: VkPhysicalDevice.
    """

    def __init__(self, instance: Any, physical: Any) -> None:
        self._instance, self.physical, self._pid = instance, physical, os.getpid()
        whole, floats, groups = properties_of(physical)
        properties = whole.properties
        newest = properties.apiVersion >= vk.VK_MAKE_VERSION(1, 2, 0)
        self.name = ffi.string(properties.deviceName).decode()
        driver = f"{properties.vendorID:x} {properties.deviceID:x} {properties.driverVersion}"
        key = f"{self.name} {driver} {bytes(ffi.buffer(properties.pipelineCacheUUID)).hex()}"
        kind = "cpu" if properties.deviceType == vk.VK_PHYSICAL_DEVICE_TYPE_CPU else "gpu"
        self.period = properties.limits.timestampPeriod
        memory = ffi.new("VkPhysicalDeviceMemoryProperties*")
        lib.vkGetPhysicalDeviceMemoryProperties(physical, memory)
        self.memory_types = [int(memory.memoryTypes[i].propertyFlags) for i in range(memory.memoryTypeCount)]
        self.family = self._family()
        dtypes = self._create()
        rules = [KEEP_SPECIAL] if newest and floats.shaderSignedZeroInfNanPreserveFloat32 else []
        keeps = bool(newest and floats.shaderDenormPreserveFloat32)
        rules += [KEEP_SUBNORMALS] if keeps else []
        self.limits = _limits(properties.limits, kind, int(groups.subgroupSize), dtypes, keeps)
        self.device = Device(self.name, key, {"kind": kind, "driver": driver})
        self.pipelines = Pipelines(self.handle, f"{key} {rules}", rules)
        queue = ffi.new("VkQueue*")
        lib.vkGetDeviceQueue(self.handle, self.family, 0, queue)
        self.queue = queue[0]
        info = struct("VkCommandPoolCreateInfo", queueFamilyIndex=self.family)
        self.commands = make("VkCommandPool", lib.vkCreateCommandPool, self.handle, info, "making a pool")
        self.lock = threading.RLock()  # queues and pools are used by one thread at a time

    def _family(self) -> int:
        count = ffi.new("uint32_t*")
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.physical, count, NULL)
        families = ffi.new("VkQueueFamilyProperties[]", count[0])
        lib.vkGetPhysicalDeviceQueueFamilyProperties(self.physical, count, families)
        for i in range(count[0]):
            if families[i].queueFlags & vk.VK_QUEUE_COMPUTE_BIT:
                return i
        raise DeviceError(f"Vulkan device {self.name} has no queue that computes")

    def _create(self) -> set[str]:
        """Opens the device with every feature that the kernels can use; gives the dtypes that they may use."""
        small = struct("VkPhysicalDeviceShaderFloat16Int8Features")
        bytes_ = struct("VkPhysicalDevice8BitStorageFeatures", pNext=small)
        shorts = struct("VkPhysicalDevice16BitStorageFeatures", pNext=bytes_)
        known = struct("VkPhysicalDeviceFeatures2", pNext=shorts)
        lib.vkGetPhysicalDeviceFeatures2(self.physical, known)
        dtypes = {"float32", "int32"}
        core = ffi.new("VkPhysicalDeviceFeatures*")
        if known.features.shaderInt64:
            core.shaderInt64 = 1
            dtypes.add("int64")
        if bytes_.storageBuffer8BitAccess and small.shaderInt8:
            dtypes |= {"int8", "uint8"}
        if shorts.storageBuffer16BitAccess and known.features.shaderInt16:
            core.shaderInt16 = 1
            dtypes.add("uint16")
        small.shaderFloat16 = 0
        for unused in ("uniformAndStorageBuffer8BitAccess", "storagePushConstant8"):
            setattr(bytes_, unused, 0)
        for unused in ("uniformAndStorageBuffer16BitAccess", "storagePushConstant16", "storageInputOutput16"):
            setattr(shorts, unused, 0)
        wanted = struct("VkPhysicalDeviceFeatures2", pNext=shorts)
        wanted.features = core[0]
        priority = ffi.new("float[]", [1.0])
        queue = struct(
            "VkDeviceQueueCreateInfo", queueFamilyIndex=self.family, queueCount=1, pQueuePriorities=priority
        )
        info = struct("VkDeviceCreateInfo", pNext=wanted, queueCreateInfoCount=1, pQueueCreateInfos=queue)
        self.handle = make("VkDevice", lib.vkCreateDevice, self.physical, info, f"opening {self.name}")
        return dtypes

    def forked(self) -> bool:
        """True in a process that was forked after the device was opened: nothing of the driver may be touched there."""
        return os.getpid() != self._pid

    def alive(self) -> None:
        """Raises DeviceError in a process that was forked after the device was opened."""
        if self.forked():
            raise forked("Vulkan", self.name)

    def load(self, image: Image) -> LoadedImage:
        """Builds, allocates, uploads, records."""
        self.alive()
        with self.lock:
            loaded = LoadedImage(self, image)
            self.pipelines.keep()
        return loaded


def _limits(limits: Any, kind: str, neighbours: int, dtypes: set[str], subnormals: bool) -> Limits:
    """What the base may ask of the device."""
    sizes, groups = limits.maxComputeWorkGroupSize, limits.maxComputeWorkGroupCount
    if limits.maxComputeWorkGroupInvocations < MIN_ITEMS or limits.maxPushConstantsSize < MIN_PUSH:
        raise DeviceError(
            f"work groups of {limits.maxComputeWorkGroupInvocations} items and {limits.maxPushConstantsSize} bytes of "
            f"parameters are too little: {MIN_ITEMS} and {MIN_PUSH} are needed"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Limits(
        lanes=(1, 4),
        tiles=kind != "cpu",
        units=cores if kind == "cpu" else DISCRETE_UNITS,
        registers=128 if kind == "cpu" else 32,
        neighbours=neighbours if kind == "cpu" else 1,
        load=LOAD if kind == "cpu" else 0.0,
        group_items=int(limits.maxComputeWorkGroupInvocations),
        group_sizes=(int(sizes[0]), int(sizes[1]), int(sizes[2])),
        groups=(int(groups[0]), int(groups[1]), int(groups[2])),
        local_bytes=int(limits.maxComputeSharedMemorySize),
        align=max(64, int(limits.minStorageBufferOffsetAlignment)),
        buffer_bytes=int(limits.maxStorageBufferRange),
        dtypes=frozenset(dtypes),
        subnormals=subnormals,
    )


def physical_devices(instance: Any) -> list[Any]:
    """Physical devices of Vulkan 1.1 and newer, GPUs first."""
    order = [vk.VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, vk.VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU]
    found = []
    for physical in listed("VkPhysicalDevice", lib.vkEnumeratePhysicalDevices, instance):
        whole = properties_of(physical)[0]
        if whole.properties.apiVersion >= VERSION:
            kind = whole.properties.deviceType
            found.append((order.index(kind) if kind in order else len(order), len(found), physical))
    return [physical for _, _, physical in sorted(found, key=lambda f: f[:2])]
