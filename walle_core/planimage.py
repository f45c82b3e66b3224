"""A plan of one part as bytes: a header (JSON: its steps) and the data of its constants, each at a multiple of 64 bytes."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from walle_core._native import Tensor
from walle_core.errors import CacheError
from walle_core.installed import function
from walle_core.prepared import Found, PreparedPart, StoredPlan
from walle_core.types import TensorSpec, dtype

if TYPE_CHECKING:
    from walle_core.protocols import Backend

MAGIC = b"WALLEPLN"
PREFIX = len(MAGIC) + 16  # then: length of the header, its checksum
ALIGN, PAGE = 64, 4096
MAX_HEADER = 1 << 28


@attrs.frozen(eq=False)
class Described:
    """A plan ready to be written.

    Attributes:
        header: plain values.
        tensors: the constants.
        nbytes: of their data.
    """

    header: dict[str, Any]
    tensors: Sequence[Tensor]
    nbytes: int

    def written(self, header: dict[str, Any] | None = None) -> Iterator[Any]:
        """The bytes, in pieces; `header` in the place of the own one."""
        return whole(self.header if header is None else header, self.nbytes, self.tensors)


def describe(
    part: PreparedPart,
    backend: Backend,
    inputs: Sequence[tuple[str, TensorSpec]],
    source: str,
    files: Sequence[Sequence[Any]] = (),
) -> Described | None:
    """What to write of a plan of one part; None if its backend cannot store it.

    Args:
        part: all of the plan.
        backend: of the part; asked for ``save`` if it has that.
        inputs: (name, spec) of the graph's inputs.
        source: what messages call the model.
        files: `planfile.stamp` of each of the model's files.
    """
    save = getattr(backend, "save", None)
    saved = save(part.executable) if save is not None else None
    if saved is None:
        return None
    restore, state, tensors = saved
    places, end, checksum = [], 0, 0
    for tensor in tensors:
        places.append([end, tensor.nbytes])
        end += -(-tensor.nbytes // ALIGN) * ALIGN
    for piece in _pieces(tensors):
        checksum = zlib.crc32(piece, checksum)
    header = {
        "module": str(state.get("tables", restore)).partition(":")[0], "restore": restore, "state": state, "sections": places,
        "checksum": checksum, "inputs": [[n, s.dtype.name, s.sizes] for n, s in inputs], "outputs": part.outputs, "source": source,
        "files": files,
        "part": {k: getattr(part, k) for k in ("backend", "device", "inputs", "outputs", "nodes", "predicted_s")},
    }  # fmt: skip
    return Described(header, tensors, end)


def opened(image: memoryview) -> Found:
    """The plan of a whole image in memory, whose constants stay where they are. Raises whatever a damaged one leads to."""
    header = read_header(
        io.BytesIO(image[: PREFIX + int.from_bytes(image[len(MAGIC) : len(MAGIC) + 8], "little")])
    )
    begin, nbytes = header["data"]
    if begin < 0 or nbytes < 0 or begin + nbytes != len(image):
        raise CacheError("the image has another length")
    return restored(header, sections(header, image[begin:]))


def sections(header: dict[str, Any], data: memoryview) -> list[Tensor]:
    """The constants in the data that follows a header. Raises CacheError for one outside."""
    tensors = []
    for offset, length in header["sections"]:
        if offset < 0 or length < 0 or offset + length > len(data) or offset % ALIGN:
            raise CacheError("a constant lies outside the file")
        tensors.append(Tensor.wrap(data[offset : offset + length], "uint8", (length,)))
    return tensors


def restored(header: dict[str, Any], data: Sequence[Tensor]) -> Found:
    """The plan, from its header and the data of its constants. Raises whatever a damaged header leads to."""
    restore = function(header["restore"])
    part = header["part"]
    executable = restore(header["state"], data, function)
    names = tuple(part["inputs"]), tuple(part["outputs"])
    prepared = PreparedPart(
        part["backend"], part["device"], *names, executable, part["nodes"], part["predicted_s"]
    )
    inputs = [(n, TensorSpec(dtype(d), tuple(shape))) for n, d, shape in header["inputs"]]
    outputs = tuple(header["outputs"])
    return Found(StoredPlan([prepared]), inputs, outputs, header["source"], header.get("files", ()))


def read_into(file: Any, into: memoryview) -> None:
    """Fills `into` from a file. Raises CacheError if that ends early."""
    done = 0
    while done < len(into):
        count = file.readinto(into[done:])
        if not count:
            raise CacheError("the file ends early")
        done += count


def read_header(file: Any) -> dict[str, Any]:
    """What an image begins with. Raises CacheError or ValueError if it is none."""
    prefix = bytearray(PREFIX)
    read_into(file, memoryview(prefix))
    length, checksum = (int.from_bytes(prefix[i : i + 8], "little") for i in (len(MAGIC), len(MAGIC) + 8))
    if prefix[: len(MAGIC)] != MAGIC or length > MAX_HEADER:
        raise CacheError("not a plan")
    text = bytearray(length)
    read_into(file, memoryview(text))
    if zlib.crc32(text) != checksum:
        raise CacheError("the header is damaged")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise CacheError("not a plan")
    return header


def _pieces(tensors: Sequence[Tensor]) -> Iterator[Any]:
    for tensor in tensors:
        if tensor.nbytes:
            yield memoryview(tensor.reshape((-1,))).cast("B")
        yield bytes(-tensor.nbytes % ALIGN)


def whole(header: dict[str, Any], nbytes: int, tensors: Sequence[Tensor]) -> Iterator[Any]:
    """An image in pieces."""
    begin = PAGE
    while True:  # the place of the data is part of the header, whose length decides that place
        text = json.dumps({**header, "data": [begin, nbytes]}, separators=(",", ":")).encode()
        if PREFIX + len(text) <= begin:
            break
        begin = -(-(PREFIX + len(text)) // PAGE) * PAGE
    text = text.ljust(begin - PREFIX)  # so that the checksum covers the file up to the data
    yield MAGIC + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(8, "little") + text
    yield from _pieces(tensors)
