"""Recorded events: where the logs are, which kinds of events they have, and their events as the device took them.

A device that uses walle_pipeline's `Device`, as the agent does, records by itself: its folder holds segments of an event log,
``<position>.events``. A copy of that folder, made while the device runs or not, is a recorded log; so is the copy of an agent's
whole folder, in which it is found. Applications may also write one with `walle_pipeline.log.EventLog`, and other systems may
give events as JSON, a line each: ``{"kind": "click", "page": "item", "time": 1780000000000, "key": "ann"}``. Events name
people: collect them only of those who agreed, and keep the folder as safe as the data it came from.

A device keeps no more than its newest segments (about 20,000 events), so copies that were made now and then say more than
one; each is a log of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import attrs
import msgspec
from walle_pipeline.errors import EventError, LogError
from walle_pipeline.events import MAX_EVENT, Event, Schema
from walle_pipeline.lines import lines
from walle_pipeline.log import MAGIC, Block, Damage, read_blocks

from walle_deploy.simulate.errors import SimulationError

SUFFIXES = (".events", ".jsonl", ".ndjson")
PIECE = 900  # events that are handed on together; a device does the same
TOLD = 10  # damages of a log that are told one by one
SchemaName = Schema | str | None
_SEGMENT = re.compile(r"[0-9]{20}\.events")


@attrs.frozen
class Log:
    """One device's recorded events.

    Attributes:
        name: for people, and to find it again in the same folder.
        paths: of its segments, in order.
        size: bytes.
    """

    name: str
    paths: tuple[Path, ...]
    size: int


def logs_in(places: Iterable[str | Path]) -> list[Log]:
    """The logs that files and folders hold, in the order of their names. Raises SimulationError if a place is not there."""
    found: dict[str, Log] = {}
    for place in map(Path, places):
        if place.is_file():
            made = [Log(place.name, (place,), place.stat().st_size)]
        elif place.is_dir():
            made = list(_in_folder(place))
        else:
            raise SimulationError(f"{place}: no such file or folder of recorded events")
        for log in made:
            name, number = log.name, 2
            while name in found:
                name, number = f"{log.name} ({number})", number + 1
            found[name] = attrs.evolve(log, name=name)
    return [found[name] for name in sorted(found)]


def _in_folder(place: Path) -> Iterator[Log]:
    for folder, below, names in os.walk(place):
        below.sort()
        paths = [Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES)]
        segments = tuple(path for path in paths if _SEGMENT.fullmatch(path.name) and path.stat().st_size)
        inside = Path(place.name, Path(folder).relative_to(place))
        if segments:
            yield Log(inside.as_posix(), segments, sum(path.stat().st_size for path in segments))
        for path in paths:
            if path.is_file() and not _SEGMENT.fullmatch(path.name):
                yield Log((inside / path.name).as_posix(), (path,), path.stat().st_size)


class Damages:
    """What could not be read.

    Attributes:
        count: how many places.
        texts: the first of them.
    """

    def __init__(self) -> None:
        self.count, self.texts = 0, list[str]()

    def add(self, where: str, why: object) -> None:
        """One more place."""
        self.count += 1
        if len(self.texts) < TOLD:
            self.texts.append(f"{where}: {why}"[:300])


def schema_named(name: SchemaName) -> Schema:
    """A schema, that which ``module:attribute`` names, or that of the kinds that every application has.

    Raises SimulationError if the name names none.
    """
    if isinstance(name, str):
        module, _, attribute = name.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except Exception as error:  # the application's module may raise anything
            raise SimulationError(f"schema {name!r}: wanted module:attribute, but {error!r}") from error
        if not isinstance(found, Schema):
            raise SimulationError(
                f"schema {name!r}: is a {type(found).__name__}, not a walle_pipeline Schema"
            )
        return found
    return Schema.BASIC if name is None else name


class _Kind(msgspec.Struct):
    kind: str = ""


def schema_of(log: Log, schema: Schema, wanted: Iterable[str]) -> Schema:
    """`schema`, and kinds that it does not have: those of the log and those `wanted`, with `contents` and no other fields."""
    names = set(wanted)
    for path in log.paths:
        try:
            names |= _kinds_in(path)
        except (OSError, LogError):  # told when its events are read
            continue
    missing = sorted(names - {*schema.kinds, "*", ""})
    return schema.with_kinds(*map(_made, missing))


def _made(name: str) -> type[Event]:
    made = msgspec.defstruct("Kind", [], bases=(Event,), tag=name, frozen=True, forbid_unknown_fields=True)
    assert issubclass(made, Event)
    return made


def _kinds_in(path: Path) -> set[str]:
    names: set[str] = set()
    if _packed(path):
        for block in read_blocks(path):
            if isinstance(block, Block):
                names.update(block.kinds)
        return names
    read = msgspec.json.Decoder(_Kind)
    with path.open("rb") as file:
        for _, line, _ in lines(file):
            try:
                names.add(read.decode(line).kind)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
    return names


def batches(log: Log, schema: Schema, damages: Damages) -> Iterator[list[Event] | str]:
    """The events of a log as they were taken, some at a time, and what the device noted between: ``finish``, or a time."""
    for path in log.paths:
        where = log.name if len(log.paths) == 1 else f"{log.name}/{path.name}"
        try:
            yield from (
                _packed_batches(path, where, schema, damages)
                if _packed(path)
                else _json_batches(path, where, schema, damages)
            )
        except (OSError, LogError) as error:
            damages.add(where, error)


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _packed_batches(path: Path, where: str, schema: Schema, damages: Damages) -> Iterator[list[Event] | str]:
    for number, block in enumerate(read_blocks(path)):
        if isinstance(block, Damage):
            damages.add(where, f"bytes {block.start} to {block.end}: {block.reason}")
        elif block.note is not None:
            yield block.note
        else:
            try:
                events = block.events(schema)
            except (EventError, TypeError, ValueError, LookupError) as error:
                fix = (
                    "; give the schema that has the fields of its kinds"
                    if isinstance(error, TypeError)
                    else ""
                )
                damages.add(where, f"block {number}: {error}{fix}")
            else:
                yield events


def _json_batches(path: Path, where: str, schema: Schema, damages: Damages) -> Iterator[list[Event]]:
    some: list[Event] = []
    with path.open("rb") as file:
        for number, line, length in lines(file):
            if length > MAX_EVENT + 2:
                damages.add(where, f"line {number}: {length} bytes; at most {MAX_EVENT} are allowed")
            elif line.strip():
                try:
                    some.append(schema.decode(line.rstrip(b"\r\n"), "json"))
                except EventError as error:
                    damages.add(where, f"line {number}: {error}")
            if len(some) >= PIECE:
                yield some
                some = []
    if some:
        yield some


def grouped(logs: Sequence[Log], size: int) -> list[tuple[Log, ...]]:
    """Neighbours together until they have `size` bytes; the same whatever runs them."""
    made: list[tuple[Log, ...]] = []
    group: list[Log] = []
    for log in logs:
        group.append(log)
        if sum(each.size for each in group) >= size:
            made.append(tuple(group))
            group = []
    return [*made, tuple(group)] if group else made
