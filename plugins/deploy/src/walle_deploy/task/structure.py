"""Plain values (from TOML) as msgspec structs, with every mistake found and each at its exact path."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union

import attrs
import msgspec


@attrs.frozen
class Problem:
    """A mistake: the path of the field, and a sentence with what was found and what is wanted."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def problems(value: Any, wanted: Any, path: str = "") -> Iterator[Problem]:
    """Everything that keeps `value` from being `wanted`, innermost first; nothing if it converts."""
    try:
        msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError as error:
        inner = list(_inner(value, wanted, path))
        kind = _kind(wanted)
        text = _text(str(error))
        if typing.get_origin(kind) is Literal:
            text = f"wanted one of {', '.join(map(str, typing.get_args(kind)))}"
        yield from inner or [Problem(path, f"found {_shown(value)}; {text}")]
    except RecursionError:
        yield Problem(path, "nested too deeply")


def _inner(value: Any, wanted: Any, path: str) -> Iterator[Problem]:
    """Mistakes in the parts of a table or list."""
    kind = _kind(wanted)
    arguments = typing.get_args(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for name, part in value.items():
            if name in known:
                yield from problems(part, hints[known[name].name], _join(path, name))
            else:
                yield Problem(_join(path, name), f"is not known here; known are {', '.join(known)}")
        for name, field in known.items():
            if field.required and name not in value:
                yield Problem(_join(path, name), "is missing")
    elif isinstance(value, dict) and typing.get_origin(kind) is dict:
        for name, part in value.items():
            for found in problems(name, arguments[0]):
                yield Problem(_join(path, name), f"the name {found.text[len('found ') :]}")
            yield from problems(part, arguments[1], _join(path, name))
    elif isinstance(value, list) and typing.get_origin(kind) in (list, tuple) and arguments:
        for number, part in enumerate(value):
            yield from problems(part, arguments[0], f"{path}[{number}]")


def _kind(wanted: Any) -> Any:
    """The type without its constraints, and the only table or list of a union."""
    while hasattr(wanted, "__metadata__"):
        wanted = wanted.__origin__
    if typing.get_origin(wanted) in (Union, types.UnionType):
        parts = [_kind(part) for part in typing.get_args(wanted)]
        deep = [
            p
            for p in parts
            if typing.get_origin(p) or (isinstance(p, type) and issubclass(p, msgspec.Struct))
        ]
        return deep[0] if len(deep) == 1 else wanted
    return wanted


def _join(path: str, name: str) -> str:
    shown = name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else repr(name)
    return f"{path}.{shown}" if path else shown


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return f"{value!r:.80}"


def _text(message: str) -> str:
    """The decoder's sentence in the words of TOML."""
    message = message.split(" - at ", maxsplit=1)[0]
    for word, plain in (
        ("Expected", "wanted"),
        ("`object`", "a table"),
        ("`array`", "a list"),
        ("`str`", "a text"),
    ):
        message = message.replace(word, plain)
    return message
