"""Programs built once and kept on disk: by device, driver and source, checked when they are read."""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyopencl as cl

from walle_backend_opencl.writer import opencl_program
from walle_core.backends.device.contract import Built
from walle_core.backends.device.program import by_width
from walle_core.cache import cache_folder, warn_once, write_atomically
from walle_core.errors import BackendError, CacheError
from walle_core.files import read_regular

# -w: generated kernels have constant conditions, and PoCL's compiler counts its warnings on the error output
OPTIONS = ("-cl-std=CL1.2", "-w", "-cl-fp32-correctly-rounded-divide-sqrt")
MAX_BYTES = 1 << 28
DIGEST = 32  # bytes of the hash that a file begins with


class Programs:
    """Kernels of one device.

    Args:
        context, device: where they run.
        key: names device and driver; what is kept belongs to it.
    """

    def __init__(self, context: Any, device: Any, key: str) -> None:
        self.context, self.device = context, device
        self._key = f"{key} {platform.machine()} {cl.VERSION_TEXT}"
        rounded = device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
        self._options = list(OPTIONS if rounded else OPTIONS[:-1])

    def kernels(self, builts: Sequence[Built]) -> dict[Built, tuple[Any, str]]:
        """Built -> (program, kernel name). Raises BackendError with the compiler's message."""
        found: dict[Built, tuple[Any, str]] = {}
        for group in by_width(builts):
            made = self._program(opencl_program(group))
            found.update({built: (made, f"k{i}") for i, built in enumerate(group)})
        return found

    def _program(self, source: str) -> Any:
        name = hashlib.sha256("\0".join([self._key, *self._options, source]).encode()).hexdigest()
        path = cache_folder() / "opencl" / f"{name[:40]}.bin"
        if (made := self._from_binary(_read(path))) is not None:
            return made
        made = cl.Program(self.context, source)
        try:
            self._build(made)
        except cl.Error as error:
            raise BackendError(
                f"OpenCL device {self.device.name.strip()}: its compiler refuses a kernel: {error}; update the driver, or "
                f"leave the device out with WALLE_OPENCL_DEVICE=none"
            ) from error
        binary = _binary(made, self.device)
        _keep(path, binary)
        # a driver that compiles a kernel at its first launch has now done so, for the binary
        return self._from_binary(binary) or made

    def _build(self, made: Any) -> Any:
        with warnings.catch_warnings():  # a compiler that talks without being asked
            warnings.simplefilter("ignore", cl.CompilerWarning)
            return made.build(self._options, [self.device], cache_dir=False)

    def _from_binary(self, binary: bytes | None) -> Any:
        if not binary:
            return None
        try:
            return self._build(cl.Program(self.context, [self.device], [binary]))
        except cl.Error:  # made by another driver under the same name
            return None


def _read(path: Path) -> bytes | None:
    try:
        data = read_regular(path, MAX_BYTES)
    except (OSError, CacheError):
        return None
    body = data[DIGEST:]
    return body if body and hashlib.sha256(body).digest() == data[:DIGEST] else None


def _binary(made: Any, device: Any) -> bytes:
    try:
        return bytes(made.get_info(cl.program_info.BINARIES)[list(made.devices).index(device)])
    except (cl.Error, ValueError):  # a driver that gives no binaries
        return b""


def _keep(path: Path, binary: bytes) -> None:
    try:
        if binary:
            write_atomically(path, [hashlib.sha256(binary).digest(), binary])
    except OSError as error:
        warn_once(
            f"cannot keep built kernels in {cache_folder()} ({error}); they will be built again next time"
        )
