"""A task's inputs and results as bytes: plain values in MessagePack, tensors as an extension of it."""

from __future__ import annotations

from typing import Any

import msgspec

from walle_deploy.errors import TaskError

TENSOR = 1  # type of the extension: MessagePack of [dtype, shape, dense bytes in row-major order]


class _Tensor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data: bytes


def pack(value: Any) -> bytes:
    """`value` as bytes: dicts, lists, texts, numbers, bytes, and tensors (also arrays of NumPy). Raises TaskError."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TaskError(f"this value cannot be sent: {error}") from error


def unpack(data: bytes | bytearray) -> Any:
    """The value of `pack`; tensors as those of walle_core. Raises TaskError for anything else."""
    try:
        return _decoder.decode(data)
    except TaskError:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise TaskError(f"these bytes are no packed value: {error}") from error


def _encode(value: Any) -> Any:
    if not all(hasattr(value, name) for name in ("dtype", "shape", "tobytes")):
        raise TypeError(f"{type(value).__name__} is neither plain nor a tensor")
    tensor = _Tensor(str(value.dtype), list(value.shape), value.tobytes())
    return msgspec.msgpack.Ext(TENSOR, msgspec.msgpack.encode(tensor))


def _decode(code: int, data: memoryview) -> Any:
    from walle_core import Tensor
    from walle_core.errors import WalleError

    if code != TENSOR:
        raise TaskError(f"an extension of type {code} in a packed value; {TENSOR} is known")
    try:
        found = msgspec.msgpack.decode(data, type=_Tensor)
        return Tensor.wrap(found.data, found.dtype, found.shape)
    except (WalleError, msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise TaskError(f"no tensor in a packed value: {error}") from error


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode)
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode)
