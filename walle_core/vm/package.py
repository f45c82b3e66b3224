"""Tasks compiled ahead: bytecode per Python minor version, the source as fallback, all under one signature.

Bytecode of another version, or altered, crashes the interpreter that unmarshals it. So nothing of a package is used before its
signature fits, nothing of a blob before its digest and the interpreter's magic number do, and `marshal` is called in this file only.

A package is: ``b"WALLETSK"``, a format number, the size of the manifest and the manifest (JSON); the size of the signature over all
that, and the signature; the blobs, one after the other, each zlib-compressed. Numbers have 4 bytes, little endian.
"""

from __future__ import annotations

import json
import marshal
import sys
import zlib
from collections.abc import Callable, Mapping
from importlib.util import MAGIC_NUMBER
from types import CodeType
from typing import Any

import attrs

from walle_core.vm.errors import PackageError

BEGIN = b"WALLETSK"
FORMAT = 1
MAX_MANIFEST, MAX_SIGNATURE = 1 << 20, 1 << 14  # bytes
MAX_BLOB = 1 << 26  # bytes, unpacked
_HEAD = len(BEGIN) + 8
SOURCE = "source"

Verify = Callable[[bytes, bytes], Any]  # (message, signature); raises or returns False if they do not fit
Sign = Callable[[bytes], bytes]


def hmac_key(key: bytes) -> tuple[Sign, Verify]:
    """A pair that signs and verifies with one shared secret (HMAC-SHA256). Raises PackageError under 16 bytes."""
    import hmac

    if len(key) < 16:
        raise _bad("a key of under 16 bytes protects nothing; use secrets.token_bytes(32)")

    def sign(message: bytes) -> bytes:
        return hmac.digest(key, message, "sha256")

    def verify(message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(sign(message), signature)

    return sign, verify


@attrs.frozen
class Blob:
    """One form of a module: where its compressed bytes lie among the blobs, and what they are.

    Attributes:
        python: "3.13", or ``SOURCE``.
        magic: the interpreter's number for that bytecode, as hex; "" for source.
        optimize: 0, 1 (no asserts), 2 (no docstrings either).
        at, stored, size: offset, bytes compressed, bytes unpacked.
        sha256: digest of the compressed bytes, as hex.
    """

    python: str
    magic: str
    optimize: int
    at: int
    stored: int
    size: int
    sha256: str


@attrs.frozen
class Package:
    """A task whose signature has been verified. `Package.open` makes it; nothing else should.

    Attributes:
        name: of the task.
        entry: function that a run calls.
        modules: name -> forms of that module; "main" has the entry.
        data: the blobs.
    """

    name: str
    entry: str
    modules: Mapping[str, tuple[Blob, ...]]
    data: bytes = attrs.field(repr=False)

    @classmethod
    def open(cls, data: bytes, verify: Verify, *, name: str | None = None) -> Package:
        """Verifies a package: its signature, its manifest and the digests of all its blobs. Nothing of them is unpacked yet.

        Args:
            data: the whole package.
            verify: raises, or returns False, unless the signature is of someone who is trusted.
            name: what the task must be called; default: anything.

        Raises:
            PackageError: it is no package, is damaged, was not signed by whom `verify` trusts, or is of another task.
        """
        message, signature, body = _split(data)
        try:
            fits = verify(message, signature)
        except Exception as error:
            raise _bad(f"the package is not signed by anyone trusted: {error}") from error
        if fits is False:
            raise _bad("the package is not signed by anyone trusted, or was altered; fetch it again")
        made = _read(message[_HEAD:], body)
        if name is not None and made.name != name:
            raise _bad(f"the package is of task {made.name!r}, not of {name!r}")
        return made

    def pythons(self, module: str = "main") -> list[str]:
        """Versions that `module` has bytecode for."""
        return [b.python for b in self.modules[module] if b.python != SOURCE]

    def chosen(self, module: str = "main") -> Blob:
        """The form that this interpreter will run: its own bytecode, else the source. Raises PackageError if neither is there."""
        forms = {b.python: b for b in self.modules.get(module, ())}
        own = forms.get(f"{sys.version_info[0]}.{sys.version_info[1]}")
        if own is not None and own.magic == MAGIC_NUMBER.hex() and sys.implementation.name == "cpython":
            return own
        if SOURCE in forms:
            return forms[SOURCE]
        raise _bad(
            f"task {self.name!r}, module {module!r}: compiled for Python {', '.join(forms) or 'none'}, and without source; "
            f"compile it for {sys.version_info[0]}.{sys.version_info[1]}"
        )

    def payload(self, module: str = "main") -> bytes:
        """What `load` takes: the chosen form behind the magic number that it needs, or behind ``b"text"``. Raises PackageError."""
        blob = self.chosen(module)
        raw = _unpacked(blob, self.data[blob.at : blob.at + blob.stored])
        if blob.python == SOURCE:
            return _TEXT + raw
        if raw[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
            raise _bad(f"task {self.name!r}: bytecode of another Python than its manifest says")
        return raw

    def code(self, module: str = "main") -> CodeType:
        """The code object of `module`. Raises PackageError."""
        return load(self.payload(module), f"<{self.name}>")


_TEXT = b"text"


def _bad(text: str) -> PackageError:
    return PackageError("PackageError", text)


def load(payload: bytes, filename: str = "<task>") -> CodeType:
    """The code of a payload from `Package.payload`, perhaps made in another interpreter or process of the same Python.

    The payload must come from `Package.payload`, which has verified it; here only the magic number is compared again.

    Raises:
        PackageError: it is of another Python, or no code.
    """
    if payload[: len(_TEXT)] == _TEXT:
        try:
            return compile(payload[len(_TEXT) :], filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise _bad(f"{filename}: no Python: {error}") from error
    if payload[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
        raise _bad(f"{filename}: bytecode of another Python; compile the task for this one")
    try:
        made = marshal.loads(payload[len(MAGIC_NUMBER) :])  # noqa: S302  verified
    except (ValueError, EOFError, TypeError) as error:
        raise _bad(f"{filename}: damaged bytecode: {error}") from error
    if not isinstance(made, CodeType):
        raise _bad(f"{filename}: holds a {type(made).__name__}, not code")
    return made


def write(
    name: str,
    entry: str,
    modules: Mapping[str, Mapping[str, tuple[bytes, int]]],
    sign: Sign,
) -> bytes:
    """The bytes of a package.

    Args:
        name, entry: as in `Package`.
        modules: name -> {python or ``SOURCE``: (magic number and marshalled code, or the text; optimisation level)}.
        sign: gives the signature of a message.
    """
    from hashlib import sha256

    body = bytearray()
    listed: dict[str, list[dict[str, Any]]] = {}
    for module, forms in modules.items():
        for python, (raw, optimize) in forms.items():
            packed = zlib.compress(raw, 9)
            magic = "" if python == SOURCE else raw[: len(MAGIC_NUMBER)].hex()
            blob = Blob(python, magic, optimize, len(body), len(packed), len(raw), sha256(packed).hexdigest())
            listed.setdefault(module, []).append(attrs.asdict(blob))
            body += packed
    manifest = json.dumps(
        {"name": name, "entry": entry, "modules": listed},
        sort_keys=True, separators=(",", ":"),
    ).encode()  # fmt: skip
    message = BEGIN + _number(FORMAT) + _number(len(manifest)) + manifest
    signature = sign(message)
    if len(manifest) > MAX_MANIFEST or len(signature) > MAX_SIGNATURE:
        raise _bad(f"a manifest of {len(manifest)} and a signature of {len(signature)} bytes are too large")
    return message + _number(len(signature)) + signature + bytes(body)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is signed, the signature, the blobs."""
    if data[: len(BEGIN)] != BEGIN:
        raise _bad("no package of a task; `walle task compile` makes one")

    def number(at: int, most: int, what: str) -> int:
        value = int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or value > most:
            raise _bad(f"a damaged package: {what} {value} at byte {at}; fetch it again")
        return value

    form = number(len(BEGIN), (1 << 32) - 1, "format")
    if form != FORMAT:
        raise _bad(f"a package of format {form}; this version reads {FORMAT}")
    signed = _HEAD + number(len(BEGIN) + 4, MAX_MANIFEST, "manifest size")
    end = signed + 4 + number(signed, MAX_SIGNATURE, "signature size")
    if end > len(data):
        raise _bad("a damaged package: its signature is cut off; fetch it again")
    return bytes(data[:signed]), bytes(data[signed + 4 : end]), bytes(data[end:])


def _read(manifest: bytes, body: bytes) -> Package:
    """From a manifest whose signature fits; what its author got wrong is still an error, not a crash."""
    from hashlib import sha256  # here: not every interpreter can load its C module

    try:
        found = json.loads(manifest)
        name, entry = found["name"], found["entry"]
        modules = {m: tuple(Blob(**b) for b in forms) for m, forms in found["modules"].items()}
        fields = [(b, f) for forms in modules.values() for b in forms for f in attrs.fields(Blob)]
        wrong = [f.name for b, f in fields if type(getattr(b, f.name)).__name__ != str(f.type)]
        if wrong or not all(isinstance(v, str) and v for v in (name, entry)) or "main" not in modules:
            raise ValueError(f"fields of wrong kinds: {wrong or 'name, entry, main'}")
        at = 0
        for blob in sorted((b for forms in modules.values() for b in forms), key=lambda b: b.at):
            if blob.at != at or blob.stored < 0 or not 0 <= blob.size <= MAX_BLOB:
                raise ValueError("blobs with gaps, or too large")
            at += blob.stored
            if sha256(body[blob.at : at]).hexdigest() != blob.sha256:
                raise ValueError("the digest of its code differs")
        if at != len(body):
            raise ValueError(f"{len(body)} bytes of code, not {at}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad(f"a damaged package: {error}; fetch it again") from error
    return Package(name, entry, modules, body)


def _unpacked(blob: Blob, packed: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, blob.size + 1)
    except zlib.error as error:
        raise _bad(f"a damaged package: {error}; fetch it again") from error
    if len(raw) != blob.size or not unpacker.eof:
        raise _bad("a damaged package: its code has another size than it says; fetch it again")
    return raw
