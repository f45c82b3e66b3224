"""Tensor data outside the model file: only regular files inside the model's folder are opened."""

from __future__ import annotations

import mmap
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from walle_core.errors import ModelError
from walle_core.files import open_regular
from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.wire import decode


def map_file(path: str | os.PathLike[str], what: str) -> memoryview:
    """The bytes of a regular file, mapped read-only; the view keeps the mapping alive.

    Raises ModelError if it is missing, empty, not readable or not a regular file.
    """
    try:
        handle = open_regular(path)
    except OSError as error:
        raise ModelError(f"{what} cannot be opened: {error.strerror}; check the path") from error
    try:
        if os.fstat(handle).st_size == 0:
            raise ModelError(f"{what} is empty")
        return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} cannot be mapped: {error}") from error
    finally:
        os.close(handle)


class ExternalData:
    """The folder of a model and the data files in it that have been opened so far."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._files: dict[str, memoryview] = {}

    def view(self, pairs: list[memoryview], nbytes: int, where: str) -> memoryview:
        """`nbytes` of a data file, as the key-value pairs of a TensorProto say.

        Raises ModelError if the path leaves the folder or the file is shorter than declared.
        """
        keys = {}
        for pair in pairs:
            entry = decode(pair, s.STRING_PAIR)
            keys[entry["key"]] = entry["value"]
        location = keys.get("location", "")
        offset = _number(keys.get("offset", "0"), "offset", where)
        length = _number(keys.get("length", str(nbytes)), "length", where)
        if length != nbytes:
            raise ModelError(f"{where}: external data has length {length}, the shape needs {nbytes}")
        data = self._open(location, where)
        if offset + length > len(data):
            raise ModelError(
                f"{where}: needs bytes {offset} to {offset + length} of {location!r}, which has {len(data)}"
            )
        return data[offset : offset + length]

    def _open(self, location: str, where: str) -> memoryview:
        if location in self._files:
            return self._files[location]
        windows = PureWindowsPath(location)
        outside = (
            PurePosixPath(location).is_absolute() or windows.drive or windows.root or ".." in windows.parts
        )
        if not location or "\0" in location or outside:
            raise ModelError(
                f"{where}: external data path {location!r} must be relative and inside the model's folder"
            )
        path = Path(os.path.realpath(self.folder / location))
        if not path.is_relative_to(self.folder):
            raise ModelError(f"{where}: external data path {location!r} leads outside the model's folder")
        self._files[location] = map_file(path, f"{where}: external data {location!r}")
        return self._files[location]


def _number(text: Any, what: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ModelError(f"{where}: external data {what} {text[:40]!r} is not a size")
    return int(text)
