"""A module Metal without Apple: real selectors, argument kinds and constants are enforced, kernels run on the processor.

Launches between two barriers of a concurrent encoder run in a random order, and memory is full of NaN until it is written.
"""

from __future__ import annotations

import ctypes
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import metal_cpu
import metal_sdk
import objc

OLDEST = (13, 0)  # macOS that the backend promises to run on
faults: dict[
    str, Any
] = {}  # tests set: memory (bytes that a buffer may have), status (error code of runs), threads


def __getattr__(name: str) -> int:
    return metal_sdk.constant(name)


class MTLSize:
    """Three numbers."""

    def __init__(self, width: int, height: int, depth: int) -> None:
        self.width, self.height, self.depth = int(width), int(height), int(depth)

    def __iter__(self) -> Any:
        return iter((self.width, self.height, self.depth))


MTLSizeMake = MTLSize


class Object:
    """Answers to the selectors of its protocol that a class below implements; all others are errors, as in pyobjc."""

    protocol = ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        selector = name.replace("_", ":")
        method = metal_sdk.methods(self.protocol).get(selector)
        if method is None:
            raise AttributeError(f"{self.protocol} has no selector {selector}")
        since = tuple(int(n) for n in str(method.get("introduced", "10.0")).split("."))
        if since > OLDEST:
            raise AttributeError(f"{self.protocol} has {selector} only since macOS {method['introduced']}")
        do = getattr(type(self), f"do_{name}", None)
        if do is None:
            raise NotImplementedError(f"the fake {self.protocol} does not do {selector}")
        return lambda *given: self._checked(selector, method, do, given)

    def _checked(self, selector: str, method: dict[str, Any], do: Any, given: tuple[Any, ...]) -> Any:
        wanted = method.get("args", [])
        if len(given) != len(wanted):
            raise TypeError(f"{selector} takes {len(wanted)} arguments, {len(given)} were given")
        for value, arg in zip(given, wanted, strict=True):
            _check_argument(selector, value, arg)
        kept = [v for v, arg in zip(given, wanted, strict=True) if arg.get("type_modifier") != "o"]
        made = do(self, *kept)
        return made if len(kept) == len(given) else made if isinstance(made, tuple) else (made, None)


def _check_argument(selector: str, value: Any, arg: dict[str, Any]) -> None:
    kind, named = arg["typestr"], arg.get("type_name", "")
    if arg.get("type_modifier") == "o":
        good = value is None
    elif kind in "QqIiL":
        good = isinstance(value, int) and (kind not in "QIL" or value >= 0)
    elif kind == "Z":
        good = isinstance(value, bool)
    elif kind == "^v":
        good = isinstance(value, (bytes, bytearray, memoryview))
    elif kind.startswith("{MTLSize"):
        good = isinstance(value, MTLSize)
    elif kind == "@":
        wanted = named.removeprefix("id<").removesuffix(">").removesuffix(" *")
        good = (value is None and arg.get("null_accepted", False)) or (
            wanted == "NSString" and isinstance(value, str)
        )
        good = good or (isinstance(value, Object) and wanted in (value.protocol, "MTLResource"))
    else:
        raise NotImplementedError(f"{selector}: an argument of kind {kind}")
    if not good:
        raise TypeError(f"{selector}: {value!r} is no {named or kind}")


class Error(Object):
    """NSError, of another framework than this metadata's."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.localizedDescription = (lambda: code), (lambda: text)


class Contents:
    """pyobjc's view of memory whose size it does not know."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def as_buffer(self, count: int) -> memoryview:
        return memoryview(self._memory).cast("B")[:count]


class Buffer(Object):
    protocol = "MTLBuffer"
    alive = 0  # bytes

    def __init__(self, nbytes: int, mode: int) -> None:
        self.memory, self.nbytes = (ctypes.c_char * nbytes)(), nbytes
        ctypes.memset(self.memory, 0xFF, nbytes)
        self.shared = mode == metal_sdk.constant("MTLResourceStorageModeShared")
        Buffer.alive += nbytes

    def __del__(self) -> None:
        Buffer.alive -= self.nbytes

    def do_contents(self) -> Contents:
        assert self.shared, "contents of a private buffer are NULL"
        return Contents(self.memory)

    def do_length(self) -> int:
        return self.nbytes


class MTLCompileOptions(Object):
    protocol = "MTLCompileOptions"
    fast = True

    @classmethod
    def alloc(cls) -> MTLCompileOptions:
        return cls()

    def init(self) -> MTLCompileOptions:
        return self

    def do_setFastMathEnabled_(self, on: bool) -> None:
        self.fast = on


class Function(Object):
    protocol = "MTLFunction"

    def __init__(self, library: metal_cpu.Library, name: str) -> None:
        self.library, self.function = library, name


class Library(Object):
    protocol = "MTLLibrary"

    def __init__(self, made: metal_cpu.Library) -> None:
        self.made = made

    def do_newFunctionWithName_(self, name: str) -> Function | None:
        return Function(self.made, name) if name in self.made.most else None


class Pipeline(Object):
    protocol = "MTLComputePipelineState"

    def __init__(self, function: Function) -> None:
        self.function = function
        self.most = function.library.most[function.function] or 1024

    def do_maxTotalThreadsPerThreadgroup(self) -> int:
        return self.most


class Encoder(Object):
    def __init__(self, owner: CommandBuffer) -> None:
        self.owner, self.open = owner, True

    def do_endEncoding(self) -> None:
        assert self.open, "an encoder ends once"
        self.open = False


class BlitEncoder(Encoder):
    protocol = "MTLBlitCommandEncoder"

    def do_copyFromBuffer_sourceOffset_toBuffer_destinationOffset_size_(
        self, source: Buffer, start: int, target: Buffer, to: int, size: int
    ) -> None:
        assert self.open
        assert start + size <= source.nbytes and to + size <= target.nbytes, "a copy beyond its buffers"
        begin, end = ctypes.addressof(target.memory) + to, ctypes.addressof(source.memory) + start
        self.owner.work.append([lambda: ctypes.memmove(begin, end, size)])


class ComputeEncoder(Encoder):
    protocol = "MTLComputeCommandEncoder"

    def __init__(self, owner: CommandBuffer, concurrent: bool) -> None:
        super().__init__(owner)
        self.concurrent, self.bound, self.pipeline = concurrent, {}, None
        owner.work.append([])

    def do_setComputePipelineState_(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def do_setBuffer_offset_atIndex_(self, buffer: Buffer, offset: int, index: int) -> None:
        assert offset < buffer.nbytes, "an offset beyond its buffer"
        assert offset % 16 == 0, "vectors are read at multiples of 16 bytes"
        assert index < 31, "buffers have 31 places"
        self.bound[index] = (buffer, ctypes.addressof(buffer.memory) + offset)

    def do_setBytes_length_atIndex_(self, data: bytes, length: int, index: int) -> None:
        assert length == len(data) <= 4096, "4096 bytes at most"
        held = ctypes.create_string_buffer(bytes(data), max(length, 16))
        self.bound[index] = (held, ctypes.addressof(held))

    def do_memoryBarrierWithScope_(self, scope: int) -> None:
        assert scope == metal_sdk.constant("MTLBarrierScopeBuffers")
        self.owner.work.append([])

    def do_dispatchThreadgroups_threadsPerThreadgroup_(self, groups: MTLSize, size: MTLSize) -> None:
        assert self.open and self.pipeline is not None
        assert size.width * size.height * size.depth <= self.pipeline.most, (
            "more threads than the pipeline allows"
        )
        assert all(n > 0 for n in (*groups, *size)), "an empty launch"
        bound, function = dict(self.bound), self.pipeline.function
        places = {i: address for i, (_, address) in bound.items()}

        def launch(held: Any = bound) -> None:
            seed = random.randrange(1, 1 << 30)
            function.library.run(function.function, places, tuple(groups), tuple(size), seed)

        if not self.concurrent:
            self.owner.work.append([])
        self.owner.work[-1].append(launch)


class CommandBuffer(Object):
    protocol = "MTLCommandBuffer"

    def __init__(self) -> None:
        self.work: list[list[Any]] = []  # groups, each of things in no order
        self.encoders: list[Encoder] = []
        self.failed: Error | None = None
        self.state, self.begun, self.ended = 0, 0.0, 0.0

    def _with(self, encoder: Encoder) -> Any:
        assert all(not e.open for e in self.encoders), "one encoder at a time"
        self.encoders.append(encoder)
        return encoder

    def do_computeCommandEncoder(self) -> ComputeEncoder:
        return self._with(ComputeEncoder(self, concurrent=False))

    def do_computeCommandEncoderWithDispatchType_(self, kind: int) -> ComputeEncoder:
        return self._with(ComputeEncoder(self, kind == metal_sdk.constant("MTLDispatchTypeConcurrent")))

    def do_blitCommandEncoder(self) -> BlitEncoder:
        return self._with(BlitEncoder(self))

    def do_commit(self) -> None:
        assert self.state == 0, "committed twice"
        assert all(not e.open for e in self.encoders), "committed before endEncoding"
        self.begun, self.state = time.perf_counter(), metal_sdk.constant("MTLCommandBufferStatusCompleted")
        if "status" in faults:
            self.state = metal_sdk.constant("MTLCommandBufferStatusError")
            self.failed = Error(faults["status"], "made to fail")
            return
        for group in self.work:
            random.shuffle(group)
            for do in group:
                do()
        self.ended = time.perf_counter()

    def do_waitUntilCompleted(self) -> None:
        assert self.state, "nothing was committed"

    def do_status(self) -> int:
        return self.state

    def do_error(self) -> Error | None:
        return self.failed

    def do_GPUStartTime(self) -> float:
        return self.begun

    def do_GPUEndTime(self) -> float:
        return self.ended


class Queue(Object):
    protocol = "MTLCommandQueue"
    submitted = 0

    def do_commandBuffer(self) -> CommandBuffer:
        assert objc.depth, "a command buffer is autoreleased: make it inside of a pool"
        Queue.submitted += 1
        return CommandBuffer()


class Device(Object):
    protocol = "MTLDevice"

    def do_name(self) -> str:
        return "Processor in place of an Apple GPU"

    def do_isLowPower(self) -> bool:
        return False

    def do_maxThreadsPerThreadgroup(self) -> MTLSize:
        most = faults.get("threads", 1024)
        return MTLSize(most, most, most)

    def do_maxThreadgroupMemoryLength(self) -> int:
        return 32768

    def do_maxBufferLength(self) -> int:
        return 1 << 30

    def do_newCommandQueue(self) -> Queue:
        return Queue()

    def do_newBufferWithLength_options_(self, nbytes: int, mode: int) -> Buffer | None:
        return Buffer(nbytes, mode) if 0 < nbytes <= faults.get("memory", 1 << 30) else None

    def do_newLibraryWithSource_options_error_(self, source: str, options: MTLCompileOptions) -> Any:
        assert not options.fast, "fast math loses NaN"
        try:
            return Library(metal_cpu.compile_metal(source)), None
        except metal_cpu.CompileError as error:
            return None, Error(3, str(error))

    def do_newComputePipelineStateWithFunction_error_(self, function: Function) -> Pipeline:
        return Pipeline(function)


def MTLCopyAllDevices() -> list[Device]:
    return [Device()]
