"""Codecs of one zstd frame: the whole file, and the file with the old one as its dictionary."""

from __future__ import annotations

import zstandard

from walle_deploy.errors import StoreError

_QUICK = 16 << 20  # bytes from which the whole file is compressed at a low level
_MIN_WINDOW, _MAX_WINDOW = 10, 30  # log2 of bytes
_SLACK = 1 << 20


class Full:
    """The whole file, compressed."""

    name = "full"

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """See `contract.Codec`; `old` is not read."""
        return zstandard.ZstdCompressor(level=12 if len(new) < _QUICK else 3).compress(new)

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """See `contract.Codec`; `old` is not read."""
        return unpacked(delta, size)


class ZstdPatch:
    """The file as a zstd frame whose dictionary is the old file, as ``zstd --patch-from`` makes it.

    Attributes:
        level: of the compression.
    """

    name = "zstd-patch"

    def __init__(self, level: int = 19) -> None:
        self.level = level

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """See `contract.Codec`; None without an old file."""
        if not old or not new:
            return None
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            source_size=len(new),
            dict_size=len(old),
            window_log=min(max((len(old) + len(new)).bit_length(), _MIN_WINDOW), _MAX_WINDOW),
            enable_ldm=True,
            write_content_size=True,
            write_dict_id=False,
        )
        return zstandard.ZstdCompressor(dict_data=_dictionary(old), compression_params=parameters).compress(
            new
        )

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """See `contract.Codec`."""
        return unpacked(delta, size, old)


def unpacked(frame: bytes, size: int, dictionary: bytes = b"") -> bytes:
    """The `size` bytes of one zstd frame. Raises StoreError if it is malformed, says another size, or more follows."""
    try:
        said = zstandard.get_frame_parameters(frame)
        if said.content_size != size:
            raise StoreError(f"a zstd frame of {said.content_size} bytes where {size} were declared")
        if said.window_size > max(2 * (len(dictionary) + size), _SLACK):
            raise StoreError(f"a zstd frame with a window of {said.window_size} bytes for a file of {size}")
        unpacker = zstandard.ZstdDecompressor(
            dict_data=_dictionary(dictionary) if dictionary else None, max_window_size=1 << (_MAX_WINDOW + 1)
        )
        made = unpacker.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise StoreError(f"malformed zstd frame: {error}") from error
    if len(made) != size:
        raise StoreError(f"a zstd frame made {len(made)} bytes where {size} were declared")
    return made


def _dictionary(old: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
