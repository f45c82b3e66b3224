"""Checkpoints: what a training needs to go on, in one file with a checksum; the one before it stays beside it.

Layout: 8 bytes of magic, the SHA-256 of all that follows, 8 bytes of header size, a JSON header, the tensors' bytes.
A file is complete before it gets its name, and nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import struct
from math import prod
from pathlib import Path
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import CheckpointError
from walle_core.files import open_regular
from walle_core.train.trainer import Trainer
from walle_core.types import DTYPES

MAGIC = b"WALLECK1"
START = len(MAGIC) + 32


def previous(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the one at `path` is."""
    return Path(f"{os.fspath(path)}.previous")


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint; the one that was there becomes `previous(path)`. Raises CheckpointError if it cannot."""
    from hashlib import sha256

    header: dict[str, Any] = {
        "optimizer": repr(trainer.optimizer), "trained": list(trainer.trained), "step": trainer.step_count,
        "seed": trainer.seed, "tensors": [[n, t.dtype, list(t.shape)] for n, t in trainer.kept.items()],
    }  # fmt: skip
    head = json.dumps(header).encode()
    chunks = [struct.pack("<Q", len(head)), head, *(t.tobytes() for t in trainer.kept.values())]
    digest = sha256()
    for chunk in chunks:
        digest.update(chunk)
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            with draft.open("wb") as file:
                file.writelines([MAGIC, digest.digest(), *chunks])
                file.flush()
                os.fsync(file.fileno())
            if (
                target.exists() and _read_or_none(target) is not None
            ):  # never keep a damaged one as the last good one
                target.replace(previous(target))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written: {error.strerror}; check folder and space"
        ) from error


def restore(trainer: Trainer, path: str | os.PathLike[str]) -> Path:
    """Makes a trainer go on from the checkpoint at `path`, or, if that is damaged or missing, from the one before.

    Returns the file that was used. Raises CheckpointError if none can be.
    """
    refused: list[str] = []
    for file in (Path(path), previous(path)):
        try:
            header, tensors = _read(file)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        if header["optimizer"] != repr(trainer.optimizer):
            raise CheckpointError(
                f"{file}: was made with {header['optimizer']}, this training has {trainer.optimizer!r}"
            )
        trainer.resume(tensors, header["trained"], header["step"], header["seed"])
        return file
    raise CheckpointError("; ".join(refused))


def _read_or_none(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    try:
        return _read(path)
    except CheckpointError:
        return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from hashlib import sha256

    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if data[: len(MAGIC)] != MAGIC:
        raise CheckpointError(f"{path}: is no checkpoint")
    if sha256(memoryview(data)[START:]).digest() != data[len(MAGIC) : START]:
        raise CheckpointError(
            f"{path}: is damaged or cut off: its checksum does not fit its {len(data)} bytes"
        )
    try:
        (size,) = struct.unpack("<Q", data[START : START + 8])
        header = json.loads(data[START + 8 : START + 8 + size])
        at = START + 8 + size
        tensors: dict[str, Tensor] = {}
        for name, dtype, shape in header["tensors"]:
            nbytes = prod(shape) * DTYPES[dtype].itemsize
            if len(data) - at < nbytes:
                raise CheckpointError(
                    f"{path}: is damaged: {name!r} needs {nbytes} bytes, {len(data) - at} are left"
                )
            tensors[name] = Tensor.wrap(data[at : at + nbytes], dtype, tuple(shape)).copy()
            at += nbytes
        header["trained"], header["step"], header["seed"], header["optimizer"]
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise CheckpointError(f"{path}: is damaged: {type(error).__name__}: {error}") from error
    return header, tensors
