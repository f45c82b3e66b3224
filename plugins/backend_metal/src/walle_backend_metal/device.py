"""An open Metal device: its limits, its errors, its kernels."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import Metal

from walle_backend_metal.loaded import LoadedImage
from walle_backend_metal.writer import metal_program
from walle_core.backends.device.contract import Built, Image, Limits
from walle_core.backends.device.opening import forked
from walle_core.backends.device.program import by_width
from walle_core.errors import BackendError, DeviceError, DeviceLostError, DeviceMemoryError
from walle_core.types import Device

MIN_ITEMS = 64  # smaller thread groups cannot run the kernels
UNITS = 1024  # threads that keep a small Apple GPU busy; Metal does not tell how many cores there are
DTYPES = frozenset({"float32", "int32", "int64", "uint8", "int8", "uint16"})
LOST = (Metal.MTLCommandBufferErrorAccessRevoked, Metal.MTLCommandBufferErrorDeviceRemoved)
FULL = (Metal.MTLCommandBufferErrorOutOfMemory,)


def limits_of(handle: Any) -> Limits:
    """What the base may ask of a device. Raises BackendError if it is too small."""
    sizes = handle.maxThreadsPerThreadgroup()
    if sizes.width < MIN_ITEMS:
        raise BackendError(f"thread groups of at most {sizes.width} threads; {MIN_ITEMS} are needed")
    return Limits(
        lanes=(1, 4),
        tiles=True,
        units=UNITS,
        registers=64,
        group_items=sizes.width,
        group_sizes=(sizes.width, sizes.height, sizes.depth),
        groups=(1 << 30, 1 << 30, 1 << 30),
        local_bytes=handle.maxThreadgroupMemoryLength(),
        buffer_bytes=handle.maxBufferLength(),
        dtypes=DTYPES,
        subnormals=False,
    )


class MetalDevice:
    """A device with a queue of its own. macOS keeps what its compiler makes between processes.

    Args:
        handle: id<MTLDevice>.
    """

    def __init__(self, handle: Any) -> None:
        name, system = str(handle.name()), os.uname().release
        self.limits = limits_of(handle)
        self.device = Device(name, f"{name} {system}", {"kind": "gpu", "driver": system})
        self.handle, self._pid = handle, os.getpid()
        self.queue = handle.newCommandQueue()
        if self.queue is None:
            raise DeviceMemoryError(f"Metal device {name}: no room for a queue")
        self._pipelines: dict[Built, Any] = {}
        self.lock = threading.Lock()  # a queue is one line, and what is built is shared

    def load(self, image: Image) -> LoadedImage:
        """Builds, allocates, uploads."""
        self.alive()
        with self.lock:
            self._build([step.built for step in image.launches])
            return LoadedImage(self, image, self._pipelines)

    def alive(self) -> None:
        """Raises DeviceError in a process that was forked after the device was opened."""
        if os.getpid() != self._pid:
            raise forked("Metal", self.device.name)

    def _build(self, builts: Sequence[Built]) -> None:
        options = Metal.MTLCompileOptions.alloc().init()
        options.setFastMathEnabled_(False)  # NaN, infinities and rounding as in IEEE 754
        for group in by_width([b for b in builts if b not in self._pipelines]):
            library, error = self.handle.newLibraryWithSource_options_error_(
                metal_program(group), options, None
            )
            if library is None:
                raise self._refused("its compiler refuses a kernel", error)
            for i, built in enumerate(group):
                self._pipelines[built] = self._pipeline(library.newFunctionWithName_(f"k{i}"), built)

    def _pipeline(self, function: Any, built: Built) -> Any:
        made, error = self.handle.newComputePipelineStateWithFunction_error_(function, None)
        if made is None:
            raise self._refused(f"no pipeline for kernel {built.name}", error)
        return made

    def _refused(self, what: str, error: Any) -> BackendError:
        return BackendError(
            f"Metal device {self.device.name}: {what}: {error.localizedDescription()}; update macOS, or leave the device "
            f"out with WALLE_METAL_DEVICE=none"
        )

    def buffer(self, nbytes: int, shared: bool) -> Any:
        """A buffer that the host sees (shared) or only the device. Raises DeviceMemoryError."""
        mode = Metal.MTLResourceStorageModeShared if shared else Metal.MTLResourceStorageModePrivate
        made = self.handle.newBufferWithLength_options_(max(nbytes, self.limits.align), mode)
        if made is None:
            raise DeviceMemoryError(
                f"Metal device {self.device.name}: no room for a buffer of {nbytes} bytes"
            )
        return made

    def finish(self, commands: Any, doing: str) -> None:
        """Runs what a command buffer holds, to its end. Raises DeviceError or what it is a kind of."""
        commands.commit()
        commands.waitUntilCompleted()
        if commands.status() == Metal.MTLCommandBufferStatusCompleted:
            return
        error = commands.error()
        code = error.code() if error is not None else 0
        why = error.localizedDescription() if error is not None else "no reason is given"
        kind = DeviceLostError if code in LOST else DeviceMemoryError if code in FULL else DeviceError
        raise kind(f"Metal device {self.device.name}: {doing} failed ({why})")
