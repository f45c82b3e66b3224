"""What a device backend's plugin supplies: an open device that builds kernels and runs images. The rest is here.

The base turns a lowered graph into an `Image`: launches of kernels from `kernels/` over one arena, constants, inputs
and outputs. How a device gets memory, builds a kernel and submits launches is the plugin's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import attrs

from walle_core._native import Tensor
from walle_core.types import DTYPES, Device


@attrs.frozen
class Limits:
    """What the base may ask of a device; every size is checked before a launch is made.

    Attributes:
        lanes: widths W of the vectors that kernels may be built for, ascending, 1 among them.
        tiles: True if work groups share work through local memory (GPUs); False if one item does a vector's work
            without barriers (processors).
        units: items, or groups that share local memory, that run at once.
        registers: float32 that an item may keep in registers for sums.
        neighbours: items of a group along its first axis that one instruction runs, where the base is to mind it.
        load: multiply-adds that a load of a vector takes beyond those that hide it.
        group_items: most items of a work group; group_sizes: most per axis.
        groups: most work groups per axis.
        local_bytes: local memory of a work group.
        align: bytes that the start of a place in a buffer must be a multiple of.
        buffer_bytes: largest buffer.
        dtypes: element types that kernels may use: float32 and int32 always; int64, int8, uint8 and uint16 perhaps.
        subnormals: False if float32 results below 1.2e-38 are flushed to zero.
    """

    lanes: tuple[int, ...] = (1,)
    tiles: bool = False
    units: int = 1
    registers: int = 64
    neighbours: int = 1
    load: float = 0.0
    group_items: int = 256
    group_sizes: tuple[int, int, int] = (256, 256, 64)
    groups: tuple[int, int, int] = (65535, 65535, 65535)
    local_bytes: int = 16384
    align: int = 64
    buffer_bytes: int = 1 << 27
    dtypes: frozenset[str] = frozenset({"float32", "int32"})
    subnormals: bool = True


@attrs.frozen
class Place:
    """Bytes in one of an image's memories.

    Attributes:
        space: ``arena``, ``constant`` (filled by uploads), ``input`` or ``output``.
        index: which input or output; 0 for the others.
        offset, nbytes: where; the offset is a multiple of `Limits.align`.
    """

    space: str
    index: int
    offset: int
    nbytes: int


@attrs.frozen
class Built:
    """A kernel as it is to be built: the same value means the same machine code.

    Attributes:
        name: of the kernel in `kernels/`.
        variants: (parameter, choice) pairs fixed when the source is compiled, for example ("W", "8").
        constants: (name, integer) pairs, fixed when the kernel is built; the kernel's defaults are filled in.
        local: items per work group along each axis.
    """

    name: str
    variants: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, int], ...]
    local: tuple[int, int, int]


@attrs.frozen(eq=False)
class Launch:
    """One run of a kernel.

    Attributes:
        built: what runs.
        places: of its buffers, in the kernel's order.
        params: its scalars, in the kernel's order: int32 as int, float32 as float.
        groups: work groups along each axis.
        after: True if it must see what an earlier launch since the last such mark wrote, or overwrites what one read.
        name, purpose: node and work, for profiles.
    """

    built: Built
    places: tuple[Place, ...]
    params: tuple[int | float, ...]
    groups: tuple[int, int, int]
    after: bool = True
    name: str = ""
    purpose: Any = None


@attrs.frozen(eq=False)
class Image:
    """A static program for a device.

    Attributes:
        arena, constants: bytes of the two memories, neither of which is shared with another image.
        uploads: (offset into the constants, what lies there), written once at load.
        launches: what every run does, in order.
        inputs, outputs: (dtype name, sizes).
    """

    arena: int
    constants: int
    uploads: Sequence[tuple[int, Tensor]]
    launches: Sequence[Launch]
    inputs: Sequence[tuple[str, tuple[int, ...]]]
    outputs: Sequence[tuple[str, tuple[int, ...]]]


class Loaded(Protocol):
    """An image in a device's memory."""

    def run(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Runs once: inputs as the image states them, new Tensors out. Raises DeviceError."""

    def profile(self, inputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[int]]:
        """(outputs, nanoseconds per launch), launch by launch."""


class OpenDevice(Protocol):
    """A device that a plugin opened. Its kernels are kept on disk by the plugin, keyed by device and driver.

    Attributes:
        device: as `Backend.devices` reports it; traits should have ``kind`` (``cpu`` or ``gpu``).
        limits: see `Limits`.
    """

    device: Device
    limits: Limits

    def load(self, image: Image) -> Loaded:
        """Builds what is not built, allocates, uploads. Raises BackendError or DeviceError."""


def nbytes_of(spec: tuple[str, tuple[int, ...]]) -> int:
    """Bytes of an input or output of an image, given as (dtype name, sizes)."""
    return DTYPES[spec[0]].itemsize * prod(spec[1])
