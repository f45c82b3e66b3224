"""Walle's model file (``.walle``): safetensors with the graph and its signature as JSON metadata; never pickle.

Any safetensors reader opens the weights. Layout (github.com/huggingface/safetensors): 8 bytes little-endian header
size, a JSON header (tensor name -> dtype, shape, data_offsets), the data. Every tensor here starts at a multiple of 64
bytes; the format allows no holes, so padding is a tensor of its own. Types that safetensors lacks lie there as bytes
and keep their name in the graph. The metadata has a checksum of the graph's text and the data, which finds damage; whoever
fears forgery signs the file.
"""

from __future__ import annotations

import json
import os
import struct
from binascii import crc32
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import ModelError, WalleError
from walle_core.frontends.graph_json import decode_graph, encode_graph
from walle_core.frontends.onnx.external import map_file
from walle_core.graph.ir import Graph

FORMAT = "walle-1"
ALIGNMENT = 64
MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors package
MAX_RANK = 12
_TYPES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "int16": "I16",
    "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_SIZES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Writes a graph; an existing file is replaced only once the new one is complete.

    Raises ModelError if a value has no form in the file, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(encode_graph(graph, tensors), separators=(",", ":"))
    header: dict[str, Any] = {}
    chunks: list[Any] = []
    offset = 0
    for key, tensor in tensors.items():
        if hole := -offset % ALIGNMENT:
            header[f"padding.{offset}"] = {
                "dtype": "U8",
                "shape": [hole],
                "data_offsets": [offset, offset + hole],
            }
            chunks.append(bytes(hole))
            offset += hole
        code = _TYPES.get(tensor.dtype)
        shape = list(tensor.shape) if code else [tensor.nbytes]
        end = offset + tensor.nbytes
        header[key] = {"dtype": code or "U8", "shape": shape, "data_offsets": [offset, end]}
        chunks.append(tensor)
        offset = end
    checksum = crc32(text.encode())
    for chunk in chunks:
        checksum = crc32(chunk if isinstance(chunk, bytes) else chunk.tobytes(), checksum)
    header = {"__metadata__": {"format": FORMAT, "crc32": f"{checksum:08x}", "graph": text}, **header}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-(8 + len(head)) % ALIGNMENT)
    if len(head) > MAX_HEADER:
        raise ModelError(
            f"{os.fspath(path)}: the graph takes {len(head)} bytes, at most {MAX_HEADER} are possible"
        )
    _write(Path(path), [struct.pack("<Q", len(head)), head, *chunks])


def _write(path: Path, chunks: Sequence[Any]) -> None:
    import tempfile  # here: reading a file must not load compression, random numbers and hashes

    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    file.write(chunk if isinstance(chunk, bytes) else memoryview(chunk.tobytes()))
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error.strerror}; check folder and space") from error


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph of a file; its weights are views of the memory-mapped file.

    Raises ModelError if the file is damaged, of another format, or written by a newer version.
    """
    source = os.fspath(path)
    return _load(map_file(source, f"model {source!r}"), source, verify=True)


def load_bytes(data: bytes | bytearray | memoryview, verify: bool = True) -> Graph:
    """The graph of a file in memory, which must stay unchanged; `verify` False leaves the checksum out."""
    return _load(memoryview(data).cast("B"), "", verify)


def _load(data: memoryview, source: str, verify: bool) -> Graph:
    where = source or "model"
    try:
        header, body = _header(data, where)
        metadata = header.pop("__metadata__", None)
        if not isinstance(metadata, dict) or not isinstance(metadata.get("graph"), str):
            raise ModelError(f"{where}: safetensors without a graph; only files written by Walle can be run")
        if metadata.get("format") != FORMAT:
            raise ModelError(
                f"{where}: format {metadata.get('format')!r}, this version reads {FORMAT!r}; save it anew"
            )
        given = metadata.get("crc32")  # older files have none
        if verify and given is not None and f"{crc32(body, crc32(metadata['graph'].encode())):08x}" != given:
            raise ModelError(
                f"{where}: damaged: its checksum is not that of its content; copy or save it again"
            )
        tensors = {name: _entry(name, entry, body, where) for name, entry in header.items()}
        return decode_graph(json.loads(metadata["graph"]), tensors, source, where)
    except WalleError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        RecursionError,
        OverflowError,
    ) as error:
        raise ModelError(f"{where}: damaged: {type(error).__name__}: {error}") from error


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], memoryview]:
    if len(data) < 8:
        raise ModelError(f"{where}: {len(data)} bytes are no model file")
    (size,) = struct.unpack("<Q", data[:8])
    if size > min(MAX_HEADER, len(data) - 8):
        raise ModelError(f"{where}: header declares {size} bytes, the file has {len(data)}; is it complete?")
    header = json.loads(str(data[8 : 8 + size], "utf-8"))
    if not isinstance(header, dict):
        raise ModelError(f"{where}: the header is no mapping")
    return header, data[8 + size :]


def _entry(
    name: str, entry: Mapping[str, Any], body: memoryview, where: str
) -> tuple[str, list[int], memoryview]:
    """(type, shape, bytes) of one tensor, checked against the file."""
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    whole = all(type(v) is int and v >= 0 for v in (*shape, begin, end))
    if kind not in _SIZES or not whole or len(shape) > MAX_RANK:
        raise ModelError(f"{where}: tensor {name!r}: type {kind!r} or shape {shape} is not possible")
    if not begin <= end <= len(body) or prod(shape) * _SIZES[kind] != end - begin:
        raise ModelError(
            f"{where}: tensor {name!r}: {kind}{shape} at bytes {begin} to {end} does not fit {len(body)} bytes of data"
        )
    return kind, shape, body[begin:end]


class WalleSaver:
    """Writes ``.walle`` files."""

    name = "walle"
    suffixes: Sequence[str] = (".walle",)

    def save(self, graph: Graph, path: str | os.PathLike[str]) -> None:
        """Writes a graph; see `save`."""
        save(graph, path)


class WalleFrontend:
    """Loads ``.walle`` files."""

    name = "walle"
    suffixes: Sequence[str] = (".walle", ".safetensors")

    def sniff(self, head: bytes) -> bool:
        """True if the bytes begin like safetensors: the header size, then the JSON header."""
        return len(head) > 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= MAX_HEADER

    def load(self, path: str | os.PathLike[str]) -> Graph:
        """The graph of a file; see `load`."""
        return load(path)

    def load_bytes(self, data: bytes | bytearray | memoryview) -> Graph:
        """The graph of bytes; see `load_bytes`."""
        return load_bytes(data)
