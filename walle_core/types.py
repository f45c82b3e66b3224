"""Values that pass between layers: dtypes, tensor specs, devices, costs, algorithm candidates.

Everything here is immutable and free of NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core.dtypes import DTYPES, DType, dtype

__all__ = [
    "DTYPES", "Candidate", "Command", "DType", "Device", "DeviceRates", "Dim", "Event", "TensorSpec", "bfloat16", "bool_", "dtype",
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "string", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip

float32, float64, float16, bfloat16 = (DTYPES[n] for n in ("float32", "float64", "float16", "bfloat16"))
int8, int16, int32, int64 = (DTYPES[n] for n in ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = (DTYPES[n] for n in ("uint8", "uint16", "uint32", "uint64"))
bool_, string = DTYPES["bool"], DTYPES["string"]


Dim = int | str  # a str is a symbolic size, known only when inputs are bound


@attrs.frozen
class TensorSpec:
    """dtype and shape of a value; `shape` None means unknown rank, a str in it a symbolic size."""

    dtype: DType
    shape: tuple[Dim, ...] | None
    static: bool = attrs.field(init=False, eq=False, repr=False)  # True when every size is a known integer

    @static.default
    def _static(self) -> bool:
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a static spec as plain integers. Raises ValueError if it is not static."""
        if not self.static:
            raise ValueError(f"shape {self.shape} is not static")
        return self.shape  # type: ignore[return-value]

    @property
    def size(self) -> int:
        """Number of elements of a static spec."""
        return prod(self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of a static spec, dense and row-major."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ", ".join(map(str, self.shape))
        return f"{self.dtype}[{dims}]"


@attrs.frozen
class Device:
    """A device that a backend can run on. `key` identifies device, driver and backend version for caches."""

    name: str
    key: str
    traits: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Candidate:
    """One way in which a backend could run one node (design 4.3).

    Attributes:
        algorithm: for example ``direct``, ``winograd_f4x3``, ``gemm``; shown by `walle rank`.
        rate: which measured rate P of the device applies: ``gemm``, ``direct``, ``depthwise``, ``elementwise``, ...
        ops: elementary operations Q (a multiply-add counts 2).
        bytes: bytes moved to and from memory.
        dispatches: how many kernel launches (each costs S).
        params: solved parameters (tile sizes, layouts) that `prepare` needs.
        why: one short clause for people.
        approximate: True if it rounds more than sums in the order of the operator's definition do (Winograd).
        precision: ``low`` if operands are first rounded to bfloat16 or float16: only a Session of that precision takes it.
    """

    algorithm: str
    rate: str
    ops: float
    bytes: float
    dispatches: int = 1
    params: Mapping[str, Any] = attrs.field(factory=dict)
    why: str = ""
    approximate: bool = False
    precision: str = "high"


@attrs.frozen
class DeviceRates:
    """What calibration measured: operations/s per rate class, bytes/s per working-set size, s per dispatch.

    Attributes:
        ops_per_s: rate class -> elementary operations per second (P).
        bytes_per_s: ((working set limit in bytes, bytes/s), ...) ascending, last limit is infinite (B).
        dispatch_s: seconds per kernel launch (S).
        call_s: fixed seconds per run of a part (the native call, queue submission, synchronisation).
        transfer_bytes_per_s: to and from host memory; infinity where memory is shared.
    """

    ops_per_s: Mapping[str, float]
    bytes_per_s: Sequence[tuple[float, float]]
    dispatch_s: float
    call_s: float = 0.0
    transfer_bytes_per_s: float = float("inf")


@attrs.frozen
class Event:
    """Something that happened, for the hook `walle_on_event`: `kind` is dotted (``plugin.loaded``), `data` its facts."""

    kind: str
    data: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Command:
    """A command of the ``walle`` program.

    Attributes:
        name: what the user types.
        summary: one line for ``walle --help``.
        target: ``module:attribute`` of a click command, imported when the command is used.
    """

    name: str
    summary: str
    target: str
