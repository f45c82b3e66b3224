"""Reads protobuf's wire format from a memoryview: bounds-checked, without copies, one message at a time.

Source: the public description of the encoding, protobuf.dev/programming-guides/encoding. A sub-message stays an
undecoded slice until its own `decode`, so nesting costs no recursion here.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

MAX_MESSAGES = (
    1 << 20
)  # items of one repeated field of messages, strings or bytes: each costs about 200 bytes here
MAX_NUMBERS = 1 << 22  # items of one repeated numeric field that becomes a Python list

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIRE_NAMES = {VARINT: "varint", FIXED64: "64-bit", BYTES: "length-delimited", FIXED32: "32-bit"}

Row = tuple[str, str, bool]  # field name, how it is decoded, whether it is repeated


class MalformedError(Exception):
    """The bytes are not a message of the expected type; whoever knows file and node turns it into a ModelError."""


class Schema:
    """Fields of one message type.

    Args:
        name: the message's name, for errors.
        fields: number -> "kind name", "kind* name" where repeated. Kinds: ``int`` (any varint, as signed 64 bit),
            ``float``, ``double``, ``str``, ``view`` (bytes or a sub-message, undecoded), and ``raw`` (a packed
            numeric field kept as views; the unpacked form is collected into one array).
    """

    def __init__(self, name: str, fields: Mapping[int, str]) -> None:
        self.name = name
        self.by_tag: dict[int, Row] = {}
        self.names: dict[int, str] = {}
        self.defaults: dict[str, Any] = {}
        for number, text in fields.items():
            kind, field = text.split()
            repeated = kind.endswith("*")
            kind = kind.rstrip("*")
            self.names[number] = field
            tag = number << 3
            if kind in ("int", "rawint"):
                self.by_tag[tag | VARINT] = (field, "int" if kind == "int" else "rawint1", repeated)
                if repeated:
                    self.by_tag[tag | BYTES] = (field, "ints" if kind == "int" else "raw", repeated)
            elif kind in ("float", "double", "rawfloat", "rawdouble"):
                letter = "f" if kind.endswith("float") else "d"
                wire = FIXED32 if letter == "f" else FIXED64
                raw = kind.startswith("raw")
                self.by_tag[tag | wire] = (field, ("raw" if raw else "") + letter, repeated)
                if repeated:
                    self.by_tag[tag | BYTES] = (field, "raw" if raw else letter + "s", repeated)
            else:
                self.by_tag[tag | BYTES] = (field, kind, repeated)
            self.defaults[field] = (
                [] if repeated else {"int": 0, "float": 0.0, "double": 0.0, "str": ""}.get(kind)
            )

    def __repr__(self) -> str:
        return f"<schema {self.name}>"


def _varint(view: memoryview, pos: int) -> tuple[int, int]:
    """The unsigned varint at `pos` and the position behind it."""
    value = shift = 0
    for byte in view[pos : pos + 10]:
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise MalformedError("an integer has more than 64 bits")
            return value, pos
        shift += 7
    raise MalformedError(
        "an integer ends in the middle" if pos >= len(view) else "an integer is longer than 10 bytes"
    )


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def varints(view: memoryview, limit: int = MAX_NUMBERS) -> array[int]:
    """All integers of a packed field, as signed 64 bit. Raises MalformedError."""
    data = bytes(view)
    if data and data[-1] >= 0x80:
        raise MalformedError("an integer ends in the middle")
    count = len(data) - len(data.translate(None, _ENDS))
    if count > limit:
        raise MalformedError(f"a list of {count} integers is longer than {limit}")
    if count == len(data):
        return array("q", memoryview(data))
    found = array("q")
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 63:
                if value >> 64:
                    raise MalformedError("an integer has more than 64 bits")
                value -= 1 << 64
            found.append(value)
            value = shift = 0
        else:
            shift += 7
            if shift > 63:
                raise MalformedError("an integer is longer than 10 bytes")
    return found


_ENDS = bytes(range(0x80))  # a byte below 0x80 ends a varint


def count_varints(view: memoryview) -> int:
    """How many integers a packed field holds, without decoding them."""
    data = bytes(view)
    return len(data) - len(data.translate(None, _ENDS))


def _text(view: memoryview) -> str:
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"a string is not UTF-8 ({error.reason} at byte {error.start})") from None


def _floats(view: memoryview, letter: str) -> list[float]:
    size = 4 if letter == "f" else 8
    if len(view) % size:
        raise MalformedError(f"a list of {size}-byte numbers has {len(view)} bytes")
    if len(view) // size > MAX_NUMBERS:
        raise MalformedError(f"a list of {len(view) // size} numbers is longer than {MAX_NUMBERS}")
    return list(struct.unpack(f"<{len(view) // size}{letter}", view))


def decode(view: memoryview, schema: Schema) -> dict[str, Any]:
    """One message as field name -> value; absent fields have protobuf's defaults (None for messages and bytes).

    Under ``set`` are the names of the fields that are there.

    Args:
        view: the message's bytes, format ``B``.
        schema: its fields; others are skipped, as protobuf prescribes.

    Raises:
        MalformedError: bytes are missing, a number is too long, a known field has another type, a list is too long.
    """
    out: dict[str, Any] = {k: [] if v == [] else v for k, v in schema.defaults.items()}
    by_tag = schema.by_tag
    seen: set[str] = set()
    pos, end = 0, len(view)
    while pos < end:
        tag = view[pos]
        pos += 1
        if tag >= 0x80:
            tag, pos = _varint(view, pos - 1)
        wire = tag & 7
        value: Any
        if wire == BYTES:
            size = view[pos] if pos < end else 0x80
            pos += 1
            if size >= 0x80:
                size, pos = _varint(view, pos - 1)
            if size > end - pos:
                raise MalformedError(f"{_field(schema, tag)} declares {size} bytes but {end - pos} are left")
            value = view[pos : pos + size]
            pos += size
        elif wire == VARINT:
            value = view[pos] if pos < end else 0x80
            pos += 1
            if value >= 0x80:
                value, pos = _varint(view, pos - 1)
                value = _signed(value)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            if size > end - pos:
                raise MalformedError(f"{_field(schema, tag)} needs {size} bytes but {end - pos} are left")
            value = view[pos : pos + size]
            pos += size
        else:
            raise MalformedError(f"{_field(schema, tag)} has wire type {wire}, which is not in use")
        row = by_tag.get(tag)
        if row is None:
            number = tag >> 3
            if number in schema.names:
                raise MalformedError(
                    f"{_field(schema, tag)} is encoded as {_WIRE_NAMES[wire]}, which is another type"
                )
            if not 0 < number < 1 << 29:
                raise MalformedError(f"{schema.name} has a field numbered {number}")
            continue
        name, kind, repeated = row
        if repeated:
            seen.add(name)
        if kind == "str":
            value = _text(value)
        elif kind in ("f", "d"):
            value = struct.unpack("<" + kind, value)[0]
        elif kind == "ints":
            out[name] += varints(value, MAX_NUMBERS - len(out[name]))
            continue
        elif kind in ("fs", "ds"):
            out[name] += _floats(value, kind[0])
            if len(out[name]) > MAX_NUMBERS:
                raise MalformedError(f"{_field(schema, tag)} has more than {MAX_NUMBERS} items")
            continue
        elif kind in ("rawint1", "rawf", "rawd"):
            _collect(out[name], kind, value)
            continue
        if repeated:
            items = out[name]
            items.append(value)
            if len(items) > (MAX_NUMBERS if kind in ("int", "f", "d") else MAX_MESSAGES):
                raise MalformedError(f"{_field(schema, tag)} has more than {len(items) - 1} items")
        elif kind == "view" and name in seen:
            raise MalformedError(f"{_field(schema, tag)} is given twice")
        else:
            seen.add(name)
            out[name] = value
    out["set"] = seen
    return out


def _collect(chunks: list[Any], kind: str, value: Any) -> None:
    """Appends one number of an unpacked field to the array at the end of its chunks."""
    code = {"rawint1": "q", "rawf": "f", "rawd": "d"}[kind]
    if not chunks or not isinstance(chunks[-1], array):
        chunks.append(array(code))
    if kind == "rawint1":
        chunks[-1].append(value)
    else:
        chunks[-1].frombytes(value)


def _field(schema: Schema, tag: int) -> str:
    number = tag >> 3
    return f"{schema.name}.{schema.names.get(number, number)}"


def concat(chunks: Iterable[Any]) -> memoryview:
    """Chunks of a fixed-size ``raw`` field as one run of bytes; no copy when there is only one."""
    parts = [memoryview(c).cast("B") for c in chunks]
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
