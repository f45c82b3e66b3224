"""Recorded events for the command line: event logs and JSON lines in, JSON lines out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

import click
import msgspec

from walle_pipeline._packing import unpack
from walle_pipeline.errors import EventError
from walle_pipeline.events import MAX_EVENT, Event, Schema
from walle_pipeline.log import MAGIC, Block, Damage, read, read_blocks

TOLD = 10  # bad lines that are named one by one

Tell = Callable[[str, object], None]


class _Told:
    """Says on standard error what is passed over, the first of it one by one."""

    def __init__(self, log: str) -> None:
        self.log, self.count = log, 0

    def __call__(self, where: str, reason: object) -> None:
        self.count += 1
        if self.count <= TOLD:
            click.echo(f"walle: {self.log}, {where} set aside: {reason}", err=True)

    def end(self) -> None:
        if self.count > TOLD:
            click.echo(f"walle: {self.log}: {self.count - TOLD} more were set aside", err=True)


def events_of(log: str, schema: Schema) -> Iterator[Event]:
    """The events of an event log or of JSON lines; damage goes to standard error and is passed over."""
    tell = _Told(log)
    if _packed(log):
        for found in read(log, schema):
            if isinstance(found, Damage):
                tell(f"bytes {found.start} to {found.end}", found.reason)
            else:
                yield found
    else:
        yield from _decoded(log, schema, tell)
    tell.end()


def shown(log: str) -> Iterator[str]:
    """The events of an event log, whatever their kinds, or of JSON lines, as JSON; damage goes to standard error.

    A log names its kinds but not their fields: those of a kind that Walle does not have are a list, ``fields``.
    """
    tell = _Told(log)
    if _packed(log):
        for found in read_blocks(log):
            if isinstance(found, Damage):
                tell(f"bytes {found.start} to {found.end}", found.reason)
            elif found.note is None:
                try:
                    yield from _Loose(found).lines()
                except (EventError, IndexError) as error:
                    tell("a block", error)
    else:
        for event in _decoded(log, Schema.BASIC, tell):
            yield Schema.BASIC.encode(event, "json").decode()
    tell.end()


class _Loose:
    """Stands for the schema of a block that may have kinds of an application."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.damaged = Schema.BASIC.damaged

    def lines(self) -> list[str]:
        """Every event as JSON. Raises EventError for damage."""
        block = self.block
        made: list[str] = unpack(self, block.rows, list(range(len(block.kinds))), block.pages, block.keys)
        return made

    def make(self, kind: int, page: str, time: int, key: str, id: int, instance: int, rest: bytes) -> str:
        """One event as JSON."""
        name, basic = self.block.kinds[kind], Schema.BASIC
        if name in basic.kinds:
            try:
                event = basic.make(basic.number_of(name), page, time, key, id, instance, rest)
                return basic.encode(event, "json").decode()
            except (EventError, TypeError):  # a kind of this name with other fields
                pass
        found: dict[str, Any] = {
            "kind": name,
            "page": page,
            "time": time,
            "key": key,
            "id": id,
            "instance": instance,
        }
        try:
            contents, *fields = msgspec.msgpack.decode(rest, type=list[Any]) if rest else [{}]
            found |= {"contents": contents, "fields": fields}
            return msgspec.json.encode(found).decode()
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise EventError(f"damaged event of kind {name!r}: {error}") from error


def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes, int]]:
    """(number from 1, line, length) of a file. Of a line longer than `MAX_EVENT` bytes only the beginning is kept."""
    number = 0
    while line := file.readline(MAX_EVENT + 2):
        number, length, end = number + 1, len(line), line.endswith(b"\n")
        while not end and (more := file.readline(MAX_EVENT + 2)):
            length, end = length + len(more), more.endswith(b"\n")
        yield number, line, length


def _packed(log: str) -> bool:
    with open(log, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _decoded(log: str, schema: Schema, tell: Tell) -> Iterator[Event]:
    with open(log, "rb") as file:
        for number, line, length in lines(file):
            if length > MAX_EVENT + 2:
                tell(f"line {number}", f"a line of {length} bytes; at most {MAX_EVENT} are allowed")
            elif line.strip():
                try:
                    yield schema.decode(line.rstrip(b"\r\n"), "json")
                except EventError as error:
                    tell(f"line {number}", error)
