"""An open OpenCL device: its limits, its errors, and images in its memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyopencl as cl

from walle_backend_opencl.programs import Programs
from walle_core._native import Tensor
from walle_core.backends.device.contract import Image, Launch, Limits, Place, nbytes_of
from walle_core.backends.device.opening import forked
from walle_core.errors import BackendError, DeviceError, DeviceLostError, DeviceMemoryError
from walle_core.types import Device

MIN_ITEMS = 64  # smaller work groups cannot run the kernels
LANES = (1, 4, 8, 16)


def limits_of(device: Any) -> Limits:
    """What the base may ask of a device. Raises BackendError if it is too small."""
    if device.max_work_group_size < MIN_ITEMS:
        raise BackendError(
            f"work groups of at most {device.max_work_group_size} items; {MIN_ITEMS} are needed"
        )
    cpu = bool(device.type & cl.device_type.CPU)
    wide = device.preferred_vector_width_float or device.native_vector_width_float
    lanes = tuple(w for w in LANES if w <= (max(wide, 4) if cpu else 4))
    sizes = (*device.max_work_item_sizes, 1, 1)[:3]
    dtypes = {"float32", "int32", "int64", "uint8", "int8", "uint16"}
    return Limits(
        lanes=lanes,
        tiles=not cpu,
        units=device.max_compute_units if cpu else device.max_compute_units * 64,
        registers=16 * lanes[-1] if cpu else 64,
        group_items=device.max_work_group_size,
        group_sizes=(sizes[0], sizes[1], sizes[2]),
        groups=(1 << 30, 1 << 30, 1 << 30),
        local_bytes=device.local_mem_size,
        align=max(64, device.mem_base_addr_align // 8),
        buffer_bytes=device.max_mem_alloc_size,
        dtypes=frozenset(dtypes),
        subnormals=bool(device.single_fp_config & cl.device_fp_config.DENORM),
    )


class OpenCLDevice:
    """A device with a queue of its own.

    Args:
        handle: the pyopencl device.
    """

    def __init__(self, handle: Any) -> None:
        name = handle.name.strip()
        key = f"{handle.platform.name} {name} {handle.driver_version} {handle.version}"
        kind = "cpu" if handle.type & cl.device_type.CPU else "gpu"
        self.limits = limits_of(handle)
        self.device = Device(name, key, {"kind": kind, "driver": handle.driver_version})
        self._handle, self._pid = handle, os.getpid()
        with self.errors("opening"):
            self.context = cl.Context([handle])
            self.queue = cl.CommandQueue(self.context)
            self.timed = cl.CommandQueue(
                self.context, properties=cl.command_queue_properties.PROFILING_ENABLE
            )
        self._programs = Programs(self.context, handle, key)
        self.lock = threading.Lock()  # kernels keep their arguments, and a queue is one line

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """What the driver raises comes out as a WalleError. Raises DeviceError in a process forked after opening."""
        if os.getpid() != self._pid:
            raise forked("OpenCL", self.device.name)
        try:
            yield
        except cl.Error as error:
            raise translated(error, f"OpenCL device {self.device.name}", doing) from error

    def load(self, image: Image) -> LoadedImage:
        """Builds, allocates, uploads."""
        with self.errors("loading"):
            return LoadedImage(self, image, self._programs.kernels([s.built for s in image.launches]))


FULL = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")
GONE = (
    "DEVICE_NOT_AVAILABLE",
    "DEVICE_NOT_FOUND",
    "INVALID_DEVICE",
    "INVALID_CONTEXT",
    "INVALID_COMMAND_QUEUE",
)


def translated(error: Any, where: str, doing: str) -> DeviceError:
    """What a driver's error is for a caller."""
    kinds = {DeviceMemoryError: FULL, DeviceLostError: GONE}
    codes = {getattr(cl.status_code, name): kind for kind, names in kinds.items() for name in names}
    return codes.get(error.code, DeviceError)(f"{where}: {doing} failed ({error})")


class LoadedImage:
    """Buffers and kernels with their arguments; see `contract.Loaded`."""

    def __init__(self, owner: OpenCLDevice, image: Image, kernels: dict[Any, tuple[Any, str]]) -> None:
        self._owner, self._image = owner, image
        self._buffers = {
            ("arena", 0): self._buffer(image.arena),
            ("constant", 0): self._buffer(image.constants),
            **{("input", i): self._buffer(nbytes_of(t)) for i, t in enumerate(image.inputs)},
            **{("output", i): self._buffer(nbytes_of(t)) for i, t in enumerate(image.outputs)},
        }
        self._places: dict[Place, Any] = {}
        for offset, tensor in image.uploads:
            if tensor.nbytes:
                target = self._buffers["constant", 0]
                cl.enqueue_copy(owner.queue, target, tensor, dst_offset=offset, is_blocking=False)
        self._calls = [self._call(step, *kernels[step.built]) for step in image.launches]
        owner.queue.finish()

    def _buffer(self, nbytes: int) -> Any:
        return cl.Buffer(self._owner.context, cl.mem_flags.READ_WRITE, max(nbytes, self._owner.limits.align))

    def _place(self, place: Place) -> Any:
        if place not in self._places:
            buffer = self._buffers[place.space, place.index]
            whole = place.offset == 0 and place.space in ("input", "output")
            end = place.offset + place.nbytes
            self._places[place] = buffer if whole else buffer[place.offset : end]
        return self._places[place]

    def _call(self, step: Launch, program: Any, name: str) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
        from struct import pack

        kernel = cl.Kernel(program, name)
        scalars = [pack("<f", p) if isinstance(p, float) else pack("<i", p) for p in step.params]
        kernel.set_args(*(self._place(p) for p in step.places), *scalars)
        size = tuple(g * n for g, n in zip(step.groups, step.built.local, strict=True))
        return kernel, size, step.built.local

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs once."""
        with self._owner.lock, self._owner.errors("a run"):
            return self._run(self._owner.queue, inputs)[0]

    def profile(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """(outputs, nanoseconds per launch)."""
        with self._owner.lock, self._owner.errors("a run"):
            made, events = self._run(self._owner.timed, inputs)
            return made, [e.profile.end - e.profile.start for e in events]

    def _run(self, queue: Any, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[Any]]:
        for i, tensor in enumerate(inputs):
            if tensor.nbytes:
                cl.enqueue_copy(queue, self._buffers["input", i], tensor, is_blocking=False)
        events = [cl.enqueue_nd_range_kernel(queue, k, size, local) for k, size, local in self._calls]
        made = [Tensor(sizes, dtype, zero=False) for dtype, sizes in self._image.outputs]
        for i, tensor in enumerate(made):
            if tensor.nbytes:
                cl.enqueue_copy(queue, tensor, self._buffers["output", i], is_blocking=False)
        queue.finish()
        return made, events
