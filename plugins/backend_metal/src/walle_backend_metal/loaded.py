"""An image in a Metal device's memory; see `contract.Loaded`."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING, Any

import Metal
import objc

from walle_core._native import Tensor
from walle_core.backends.device.contract import Built, Image, Launch, nbytes_of

if TYPE_CHECKING:
    from walle_backend_metal.device import MetalDevice


class LoadedImage:
    """Buffers, and launches with their pipelines and parameters.

    Args:
        owner: the device, whose lock is held.
        image: what to load.
        pipelines: of everything that the image launches.
    """

    def __init__(self, owner: MetalDevice, image: Image, pipelines: Mapping[Built, Any]) -> None:
        self._owner, self._image = owner, image
        with objc.autorelease_pool():
            self._buffers = {
                ("arena", 0): owner.buffer(image.arena, shared=False),
                ("constant", 0): owner.buffer(image.constants, shared=False),
                **{("input", i): owner.buffer(nbytes_of(t), shared=True) for i, t in enumerate(image.inputs)},
                **{
                    ("output", i): owner.buffer(nbytes_of(t), shared=True)
                    for i, t in enumerate(image.outputs)
                },
            }
            self._calls = [self._call(step, pipelines[step.built]) for step in image.launches]
            self._upload()

    def _call(self, step: Launch, pipeline: Any) -> tuple[Any, list[tuple[Any, int]], bytes, Any, Any]:
        places = [(self._buffers[p.space, p.index], p.offset) for p in step.places]
        params = b"".join(pack("<f" if isinstance(p, float) else "<i", p) for p in step.params)
        return (
            pipeline,
            places,
            params,
            Metal.MTLSizeMake(*step.groups),
            Metal.MTLSizeMake(*step.built.local),
        )

    def _upload(self) -> None:
        """Constants go through memory that the host sees; all of them in one command buffer."""
        uploads = [(offset, tensor) for offset, tensor in self._image.uploads if tensor.nbytes]
        if not uploads:
            return
        staging = self._owner.buffer(self._image.constants, shared=True)
        for offset, tensor in uploads:
            _memory(staging, offset, tensor.nbytes)[:] = _bytes_of(tensor)
        commands = self._owner.queue.commandBuffer()
        encoder = commands.blitCommandEncoder()
        encoder.copyFromBuffer_sourceOffset_toBuffer_destinationOffset_size_(
            staging, 0, self._buffers["constant", 0], 0, self._image.constants
        )
        encoder.endEncoding()
        self._owner.finish(commands, "uploading constants")

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Runs once: one command buffer; launches wait for others only where the image says so."""
        self._owner.alive()
        with self._owner.lock, objc.autorelease_pool():
            self._write(inputs)
            commands = self._owner.queue.commandBuffer()
            encoder = commands.computeCommandEncoderWithDispatchType_(Metal.MTLDispatchTypeConcurrent)
            for step, call in zip(self._image.launches, self._calls, strict=True):
                if step.after:
                    encoder.memoryBarrierWithScope_(Metal.MTLBarrierScopeBuffers)
                _encode(encoder, *call)
            encoder.endEncoding()
            self._owner.finish(commands, "a run")
            return self._read()

    def profile(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
        """(outputs, nanoseconds per launch): a command buffer for each, timed by the device."""
        self._owner.alive()
        times = []
        with self._owner.lock, objc.autorelease_pool():
            self._write(inputs)
            for call in self._calls:
                commands = self._owner.queue.commandBuffer()
                encoder = commands.computeCommandEncoder()
                _encode(encoder, *call)
                encoder.endEncoding()
                self._owner.finish(commands, "a run")
                times.append(int((commands.GPUEndTime() - commands.GPUStartTime()) * 1e9))
            return self._read(), times

    def _write(self, inputs: Sequence[Tensor]) -> None:
        for i, tensor in enumerate(inputs):
            if tensor.nbytes:
                _memory(self._buffers["input", i], 0, tensor.nbytes)[:] = _bytes_of(tensor)

    def _read(self) -> list[Tensor]:
        made = [Tensor(sizes, dtype, zero=False) for dtype, sizes in self._image.outputs]
        for i, tensor in enumerate(made):
            if tensor.nbytes:
                _bytes_of(tensor)[:] = _memory(self._buffers["output", i], 0, tensor.nbytes)
        return made


def _encode(
    encoder: Any, pipeline: Any, places: Sequence[tuple[Any, int]], params: bytes, groups: Any, size: Any
) -> None:
    encoder.setComputePipelineState_(pipeline)
    for i, (buffer, offset) in enumerate(places):
        encoder.setBuffer_offset_atIndex_(buffer, offset, i)
    if params:
        encoder.setBytes_length_atIndex_(params, len(params), len(places))
    encoder.dispatchThreadgroups_threadsPerThreadgroup_(groups, size)


def _memory(buffer: Any, offset: int, nbytes: int) -> memoryview:
    """Bytes of a buffer that the host sees."""
    return memoryview(buffer.contents().as_buffer(offset + nbytes)).cast("B")[offset:]


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a tensor, whatever its dtype."""
    return memoryview((ctypes.c_char * tensor.nbytes).from_address(tensor.address)).cast("B")
