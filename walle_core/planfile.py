"""Plans kept on disk: a second start maps no model, searches nothing and packs no weight (ADR 13).

A file is an image (`planimage`) whose header says what the plan belongs to. It is used only if the model's files, the options,
everything installed, Walle's own code and the processor are what they were; else it is written anew. Like Python's own compiled
modules, the folder is trusted as far as its owner is: checksums find damage, not malice; no code is read from it.
"""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from walle_core._native import Tensor
from walle_core._native.tensor import find_shared, keep_shared
from walle_core.cache import cache_folder, warn_once, write_atomically
from walle_core.errors import CacheError, WalleError
from walle_core.files import open_regular
from walle_core.installed import distributions, module_stamp, package_stamp
from walle_core.planimage import describe, read_header, read_into, restored, sections
from walle_core.prepared import Found, PreparedPart
from walle_core.types import TensorSpec

if TYPE_CHECKING:
    from walle_core.protocols import Backend

FORMAT = 1
LIMIT_BYTES = (
    4 << 30
)  # of all plans, unless WALLE_CACHE_LIMIT (bytes) says otherwise; 0: none are kept or read
ENVIRONMENT = ("WALLE_ISA", "WALLE_PLUGINS_BLOCK", "WALLE_STRICT_PLUGINS")


@attrs.frozen
class Request:
    """What a plan is wanted for.

    Attributes:
        path: of the model file.
        backend, threads, precision, exact: as given to Session.
    """

    path: str
    backend: str | tuple[str, ...] | None
    threads: int
    precision: str
    exact: bool = False

    @property
    def file(self) -> Path:
        """Where the plan is kept."""
        text = repr(
            (os.path.realpath(self.path), self.backend, self.threads, self.precision, self.exact)
        ).encode()
        return cache_folder() / f"plan-{zlib.crc32(text):08x}{zlib.adler32(text):08x}.walle"

    def key(self) -> dict[str, Any]:
        """All that the plan depends on, besides the model's files."""
        backend = list(self.backend) if isinstance(self.backend, tuple) else self.backend
        return {
            "format": FORMAT, "path": os.path.realpath(self.path), "backend": backend, "threads": self.threads,
            "precision": self.precision, "exact": self.exact, "environment": [os.environ.get(n, "") for n in ENVIRONMENT],
            "core": package_stamp(str(Path(__file__).resolve().parent)), "installed": distributions(),
            "processor": _processor(), "system": [platform.system(), platform.release()],
        }  # fmt: skip


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            head = file.read(1 << 13).split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    kept = [
        x
        for x in head.splitlines()
        if x.startswith(("vendor_id", "cpu family", "model", "flags", "Features"))
    ]
    return f"{zlib.crc32(chr(10).join(kept).encode()):08x}"


def stamp(path: str) -> list[Any]:
    """[path, size, time of the last change in ns, inode] of a file. Raises OSError."""
    found = Path(path).stat()
    return [os.path.realpath(path), found.st_size, found.st_mtime_ns, found.st_ino]


def unchanged(files: Sequence[Sequence[Any]]) -> bool:
    """True if every file is what it was when it was stamped."""
    try:
        return all(stamp(f[0]) == f for f in files)
    except OSError:
        return False


def find(request: Request) -> Found | None:
    """The kept plan; None if there is none that still holds."""
    if not _limit():
        return None
    try:
        with os.fdopen(open_regular(request.file), "rb", buffering=0) as file:
            header = read_header(file)
            if header["key"] != request.key() or not unchanged(header["files"]):
                return None
            if module_stamp(header["module"]) != header["module_stamp"]:
                return None
            data = _data(file, header)
        found = restored(header, data)
        os.utime(request.file)  # the plans that were not used for longest make room
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        WalleError,
    ):
        return None
    return found


def _data(file: Any, header: dict[str, Any]) -> list[Tensor]:
    """The constants, in one block of memory: large pages make streaming through weights quicker than a mapping would be."""
    begin, nbytes = header["data"]
    size = os.fstat(file.fileno()).st_size
    if not 0 <= begin <= size or nbytes < 0 or begin + nbytes != size:
        raise CacheError("the file has another length")
    found = os.fstat(file.fileno())
    key = repr((found.st_dev, found.st_ino, nbytes, header["checksum"])).encode()
    block = find_shared(key, nbytes)
    if block is None:
        block = Tensor((nbytes,), "uint8", zero=False)
        file.seek(begin)
        read_into(file, memoryview(block))
        if zlib.crc32(memoryview(block)) != header["checksum"]:
            raise CacheError("the data is damaged")
        keep_shared(key, block)
    return sections(header, memoryview(block))


def keep(
    request: Request, part: PreparedPart, backend: Backend, files: Sequence[str],
    inputs: Sequence[tuple[str, TensorSpec]], source: str,
) -> None:  # fmt: skip
    """Keeps a plan of one part. A backend that cannot store it, and a folder that cannot be written, are no errors.

    Args:
        request: what it is for.
        part: all of the plan.
        backend: of the part; asked for ``save`` if it has that.
        files: the model's files.
        inputs: (name, spec) of the graph's inputs.
        source: what messages call the model.
    """
    made = describe(part, backend, inputs, source)
    limit = _limit()
    if made is None or not limit or made.nbytes > limit:
        return
    try:
        header = {
            **made.header, "key": request.key(), "files": [stamp(f) for f in files],
            "module_stamp": module_stamp(made.header["module"]),
        }  # fmt: skip
        write_atomically(request.file, made.written(header))
        _make_room(limit)
    except OSError as error:
        warn_once(
            f"cannot keep the plan in {cache_folder()} ({error}); the next start takes as long as this one"
        )


def _limit() -> int:
    try:
        return max(0, int(os.environ.get("WALLE_CACHE_LIMIT", LIMIT_BYTES)))
    except ValueError:
        return LIMIT_BYTES


def kept() -> list[tuple[Path, int, float]]:
    """(file, bytes, time of last use) of every plan in the cache, longest unused first."""
    found = []
    for path in cache_folder().glob("plan-*.walle"):
        try:
            state = path.stat()
        except OSError:
            continue
        found.append((path, state.st_size, state.st_mtime))
    return sorted(found, key=lambda row: row[2])


def drop_all() -> None:
    """Removes every plan in the cache."""
    for path, _, _ in kept():
        path.unlink(missing_ok=True)


def model_of(path: Path) -> str:
    """The model that a kept plan is for; "" if the file is damaged."""
    try:
        with os.fdopen(open_regular(path), "rb", buffering=0) as file:
            return str(read_header(file)["source"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, WalleError):
        return ""


def _make_room(limit: int) -> None:
    rows = kept()
    total = sum(size for _, size, _ in rows)
    for path, size, _ in rows[:-1]:
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size
