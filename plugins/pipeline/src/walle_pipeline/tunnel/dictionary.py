"""Compression of payloads with zstd, and the dictionaries that make small payloads small.

A dictionary's version is the zstd dictionary id, derived from its content, so a zstd frame names the dictionary that it
needs and nobody assigns numbers.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import zstandard

from walle_pipeline.errors import FrameError, TunnelError
from walle_pipeline.tunnel.frames import COMPRESSED, MAX_CONTROL, MAX_PAYLOAD

SIZE = 16 << 10  # bytes of a trained dictionary
LEVEL = 3
_FILE_MAGIC = b"WDIC\x01"
_ZSTD_MAGIC = 0xEC30A437
_FIRST_ID, _END_ID = 1 << 15, 1 << 31  # ids outside are reserved by the zstd format
_SMALLEST = 16  # bytes; a zstd frame costs more than it saves below


class UnknownDictionaryError(FrameError):
    """A payload needs a dictionary that this side does not have."""


def _version(data: bytes) -> int:
    number = int.from_bytes(hashlib.sha256(data[:4] + data[8:]).digest()[:8], "big")
    return _FIRST_ID + number % (_END_ID - _FIRST_ID)


@attrs.frozen
class Dictionary:
    """A zstd dictionary. `version`: its id, a hash of the rest of `data`."""

    version: int
    data: bytes = attrs.field(repr=False)

    @classmethod
    def from_bytes(cls, data: bytes, announced: int | None = None) -> Dictionary:
        """The dictionary in `data`. Raises TunnelError if it is none, is too large or was changed.

        Raises FrameError if it is not the version that was `announced`.
        """
        if not 8 < len(data) <= MAX_CONTROL:
            raise TunnelError(f"dictionary of {len(data)} bytes; at most {MAX_CONTROL} are allowed")
        magic, version = struct.unpack_from("<II", data)
        if magic != _ZSTD_MAGIC or version != _version(data):
            raise TunnelError("these bytes are no dictionary of the tunnel, or were changed: train it again")
        if announced not in (None, version):
            raise FrameError(f"dictionary {announced} has the content of {version}")
        return cls(version, data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dictionary:
        """Reads what `save` wrote. Raises TunnelError if the file is unreadable, truncated or changed."""
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise TunnelError(f"{path}: the dictionary cannot be read: {error.strerror}") from error
        start = len(_FILE_MAGIC) + 32
        body = raw[start:]
        if (
            raw[: len(_FILE_MAGIC)] != _FILE_MAGIC
            or raw[len(_FILE_MAGIC) : start] != hashlib.sha256(body).digest()
        ):
            raise TunnelError(
                f"{path}: no dictionary, or a damaged one (checksum differs): fetch or train it again"
            )
        return cls.from_bytes(body)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file with a SHA-256, whole or not at all. Raises TunnelError."""
        target = Path(path)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(_FILE_MAGIC + hashlib.sha256(self.data).digest() + self.data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise TunnelError(f"{path}: the dictionary cannot be written: {error.strerror}") from error


def train(samples: Sequence[bytes], size: int = SIZE) -> Dictionary:
    """A dictionary of at most `size` bytes from typical payloads: some hundred, together about 100 times `size`.

    Raises TunnelError if the samples are too few or too much alike for zstd.
    """
    try:
        data = bytearray(zstandard.train_dictionary(size, list(samples)).as_bytes())
    except (zstandard.ZstdError, ValueError, TypeError) as error:
        raise TunnelError(
            f"{len(samples)} samples make no dictionary ({error}): give more, and varied ones"
        ) from error
    struct.pack_into("<I", data, 4, _version(bytes(data)))
    return Dictionary.from_bytes(bytes(data))


class Codec:
    """Packs and unpacks payloads with the dictionaries it was given. For one thread at a time.

    `parent`: a codec whose dictionaries, and their prepared tables, are used as well.
    """

    def __init__(self, dictionaries: Iterable[Dictionary] = (), parent: Codec | None = None) -> None:
        self._parent = parent
        self.dictionaries: dict[int, Dictionary] = {}
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}
        for dictionary in dictionaries:
            self.add(dictionary)

    def add(self, dictionary: Dictionary) -> None:
        """Makes a dictionary known; one of the same version that is known stays."""
        if not self.knows(dictionary.version):
            self.dictionaries[dictionary.version] = dictionary

    def knows(self, version: int) -> bool:
        """Whether payloads of that dictionary can be unpacked."""
        return version in self.dictionaries or (self._parent is not None and self._parent.knows(version))

    def pack(self, payload: bytes, version: int = 0) -> tuple[int, bytes]:
        """Flags and body of a DATA frame; `version` 0 uses no dictionary.

        Raises FrameError over MAX_PAYLOAD, UnknownDictionaryError.
        """
        if len(payload) > MAX_PAYLOAD:
            raise FrameError(f"payload of {len(payload)} bytes; at most {MAX_PAYLOAD} are allowed")
        if len(payload) >= _SMALLEST:
            body = self._compressor(version).compress(payload)
            if len(body) < len(payload):
                return COMPRESSED, body
        return 0, payload

    def unpack(self, flags: int, body: bytes) -> bytes:
        """The payload. No more than MAX_PAYLOAD bytes are ever allocated.

        Raises FrameError if the body is not what `pack` makes, UnknownDictionaryError.
        """
        if not flags & COMPRESSED:
            return body
        try:
            params = zstandard.get_frame_parameters(body)
            # Without a size the decompressor would have to guess; with one it allocates exactly that much.
            if params.content_size > MAX_PAYLOAD:
                raise FrameError("compressed payload without a size, or over the limit")
            return self._decompressor(params.dict_id).decompress(body, allow_extra_data=False)
        except (zstandard.ZstdError, ValueError, MemoryError) as error:
            raise FrameError(f"payload cannot be decompressed: {error}") from error

    def _find(self, version: int) -> Dictionary:
        if version not in self.dictionaries:
            raise UnknownDictionaryError(f"dictionary {version} is not known here")
        return self.dictionaries[version]

    def _compressor(self, version: int) -> zstandard.ZstdCompressor:
        if version not in self._compressors:
            if self._parent is not None and (not version or self._parent.knows(version)):
                return self._parent._compressor(version)
            data = None
            if version:
                data = zstandard.ZstdCompressionDict(self._find(version).data)
                data.precompute_compress(level=LEVEL)
            self._compressors[version] = zstandard.ZstdCompressor(level=LEVEL, dict_data=data)
        return self._compressors[version]

    def _decompressor(self, version: int) -> zstandard.ZstdDecompressor:
        if version not in self._decompressors:
            if self._parent is not None and (not version or self._parent.knows(version)):
                return self._parent._decompressor(version)
            data = zstandard.ZstdCompressionDict(self._find(version).data) if version else None
            self._decompressors[version] = zstandard.ZstdDecompressor(dict_data=data)
        return self._decompressors[version]
