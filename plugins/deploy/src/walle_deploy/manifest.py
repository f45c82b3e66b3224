"""What one version of a task consists of: paths, digests and sizes, in one canonical form with one digest."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import msgspec

from walle_deploy.errors import DeployError

MAX_FILES = 10_000
MAX_PATH = 240  # characters, so that it still fits below the folder of an installation everywhere
MAX_PART = 255  # bytes of one name, what file systems take
MAX_FILE = 4 << 30  # bytes of one file
MAX_TOTAL = 16 << 30  # bytes of all files
MAX_BYTES = 8 << 20  # of a manifest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE
)
_REFUSED = frozenset('\\:*?"<>|')  # a separator, a drive or stream, or refused by Windows

Digest = str  # SHA-256 in 64 hex digits, lower case


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a version.

    Attributes:
        path: where it belongs, relative, with ``/``.
        sha256: of its content.
        size: bytes of its content.
        exclusive: whether only one device may read it; a shared file is the same for all.
    """

    path: str
    sha256: Digest
    size: int
    exclusive: bool = False

    def __post_init__(self) -> None:
        check_path(self.path)
        check_digest(self.sha256)
        if not 0 <= self.size <= MAX_FILE:
            raise DeployError(f"file {self.path!r}: {self.size} bytes; a file may have 0 to {MAX_FILE}")


class Manifest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="format", tag="walle-manifest-1"
):
    """A version of a task. Its files are in the order of their paths. Two equal ones have equal bytes.

    Attributes:
        task: name, letters, digits and ``_ . -``.
        version: what people call it; a release's tag.
        files: what it consists of.
    """

    task: str
    version: str
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        check_name("task", self.task)
        check_name("version", self.version)
        if len(self.files) > MAX_FILES:
            raise DeployError(
                f"task {self.task!r} has {len(self.files)} files; at most {MAX_FILES} are taken"
            )
        if (total := sum(file.size for file in self.files)) > MAX_TOTAL:
            raise DeployError(f"task {self.task!r} has {total} bytes; at most {MAX_TOTAL} are taken")
        _check_together([file.path for file in self.files])
        sizes: dict[str, int] = {}
        for file in self.files:
            if sizes.setdefault(file.sha256, file.size) != file.size:
                raise DeployError(f"file {file.path!r}: another of the same digest has another size")

    @classmethod
    def of(cls, task: str, version: str, files: Iterable[File]) -> Manifest:
        """A manifest of `files` in any order. Raises DeployError."""
        return cls(task, version, tuple(sorted(files, key=lambda file: file.path)))

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The manifest that `data` encodes. Raises DeployError, also if it is not the canonical form."""
        if len(data) > MAX_BYTES:
            raise DeployError(f"a manifest of {len(data)} bytes; at most {MAX_BYTES} are taken")
        try:
            made = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DeployError(f"not a manifest: {error}") from error
        if made.encode() != data:
            raise DeployError(
                f"the manifest of task {made.task!r} is not in its canonical form; make it anew"
            )
        return made

    def encode(self) -> bytes:
        """The canonical bytes: JSON without spaces, keys in the order of the fields."""
        return msgspec.json.encode(self)

    @property
    def digest(self) -> Digest:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def check_digest(digest: str) -> str:
    """Returns `digest`. Raises DeployError if it is no SHA-256 in lower-case hex digits."""
    if not _DIGEST.fullmatch(digest):
        raise DeployError(f"{digest[:80]!r} is not a SHA-256 in 64 lower-case hex digits")
    return digest


def check_name(kind: str, name: str) -> str:
    """Returns `name`. Raises DeployError if it cannot name a task or version: it also names folders and objects."""
    if not _NAME.fullmatch(name) or name.endswith(".") or _RESERVED.fullmatch(name.split(".", maxsplit=1)[0]):
        raise DeployError(
            f"{kind} {name[:120]!r}: use 1 to 100 of A-Z a-z 0-9 _ . -, the first a letter or digit"
        )
    return name


def check_path(path: str) -> str:
    """Returns `path`. Raises DeployError if some file system would take it for another place or refuse it."""
    if reason := _unfit(path):
        raise DeployError(f"path {path[:120]!r}: {reason}")
    return path


def _unfit(path: str) -> str:
    """Why a path is refused; "" if it is not."""
    if not 0 < len(path) <= MAX_PATH:
        return f"it has {len(path)} characters; 1 to {MAX_PATH} are taken"
    if any(unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for sign in path):
        return "it has a control, format or unassigned character"
    if found := _REFUSED.intersection(path):
        return f"it has {min(found)!r}"
    if unicodedata.normalize("NFC", path) != path:
        return "it is not in Unicode's form NFC"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "it is not relative and plain: an empty part, '.' or '..'"
        if part[-1] in ". " or part[0] == " ":
            return "a part begins with a space, or ends with a space or dot"
        if _RESERVED.fullmatch(part.split(".")[0].rstrip()):
            return f"Windows keeps {part!r} for a device"
        if len(part.encode()) > MAX_PART:
            return f"a part has more than {MAX_PART} bytes"
    return ""


def _check_together(paths: list[str]) -> None:
    """Raises DeployError if paths are not in order, meet where case does not count, or one is a folder of another."""
    if paths != sorted(paths):
        raise DeployError("the files of a manifest are not in the order of their paths")
    files: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if (other := files.get(folded)) is not None:
            raise DeployError(f"{path!r} and {other!r} are one file where case does not count; rename one")
        files[folded] = path
    for path in paths:
        parts = _folded(path).split("/")
        for depth in range(1, len(parts)):
            if (other := files.get("/".join(parts[:depth]), "")) != "":
                raise DeployError(f"{other!r} is a file and a folder of {path!r}; rename one")


def _folded(path: str) -> str:
    """The same for all paths that a file system may take for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
