"""Events: what a user did, when, on which page; typed by kind, checked when they are decoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Union

import msgspec
from msgspec import Meta, Struct

from walle_pipeline.errors import EventError

MAX_TEXT = 1024  # characters of a page, a key or a name in an event
MAX_EVENT = 1 << 16  # bytes of one encoded event
MAX_TIME = 1 << 53  # milliseconds; the range in which JSON numbers are exact

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Time = Annotated[int, Meta(ge=0, le=MAX_TIME)]
Count = Annotated[int, Meta(ge=0, le=MAX_TIME)]


class Event(Struct, frozen=True, gc=False, tag_field="kind", omit_defaults=True):
    """Base of every event; a subclass is a kind, named by its ``tag``, and its fields are that kind's contents.

        class AddToCart(Event, frozen=True, tag="add_to_cart"):
            item: str = ""

    Args:
        page: name of the page on which it happened.
        time: event time, milliseconds since the epoch, 0 to 2**53.
        key: whose sequence it belongs to: a user, a session, a device.
        id: number of the event, unique for its key; with `time` it decides the order.
        instance: which visit of the page it belongs to; 0 if the application does not number them.
        contents: anything else, by name.
    """

    page: Text
    time: Time
    key: Text = ""
    id: Count = 0
    instance: Count = 0
    contents: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """Name of the event's kind."""
        return str(type(self).__struct_config__.tag)


class PageEnter(Event, frozen=True, tag="page_enter"):
    """A page came into view; `source` is the page before."""

    source: Text = ""


class PageExit(Event, frozen=True, tag="page_exit"):
    """A page was left."""


class Scroll(Event, frozen=True, tag="scroll"):
    """A page was scrolled to `depth`, 0 the top and 1 the end."""

    depth: float = 0.0


class Exposure(Event, frozen=True, tag="exposure"):
    """An `item` was shown."""

    item: Text = ""


class Click(Event, frozen=True, tag="click"):
    """A `widget` was clicked, perhaps of an `item`."""

    widget: Text = ""
    item: Text = ""


HEAD = ("page", "time", "key", "id", "instance")  # packed as numbers; all other fields as MessagePack


class _Kind:
    """How events of one class are packed and made again."""

    def __init__(self, cls: type[Event]) -> None:
        self.cls = cls
        fields = msgspec.structs.fields(cls)
        self.names = [f.name for f in fields[len(HEAD) :]]
        self.empty = cls("", 0)
        self.defaults = tuple(getattr(self.empty, name) for name in self.names)
        types = tuple(f.type for f in fields[len(HEAD) :])
        self.typed = msgspec.msgpack.Decoder(tuple[types])  # type: ignore[valid-type]

    def decode(self, rest: bytes) -> tuple[Any, ...]:
        """Fields as they were packed: one that was made without being checked comes back as it was."""
        try:
            found: tuple[Any, ...] = self.typed.decode(rest)
        except msgspec.ValidationError:
            found = tuple(msgspec.msgpack.decode(rest, type=list[Any]))
        return found


class Schema:
    """The kinds of events that an application knows; immutable.

    Args:
        kinds: subclasses of Event, each with a tag of its own and defaults for all fields that it adds.

    Raises EventError for two kinds of one name, and for a class that is no such kind.
    """

    BASIC: ClassVar[Schema]

    def __init__(self, *kinds: type[Event]) -> None:
        self.kinds: dict[str, type[Event]] = {}
        self._packing: list[_Kind] = []
        for cls in kinds:
            self._check(cls)
            self.kinds[str(cls.__struct_config__.tag)] = cls
        self._packing = [_Kind(cls) for cls in kinds]
        self.numbers: dict[type[Event], int] = {cls: number for number, cls in enumerate(kinds)}
        union = Union[kinds] if kinds else Event  # noqa: UP007
        self._json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(union)
        self._msgpack: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(union)
        self._batch: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(list[union])  # type: ignore[valid-type]
        self._encode = msgspec.msgpack.Encoder().encode
        self._union = union

    def _check(self, cls: type[Event]) -> None:
        if not (isinstance(cls, type) and issubclass(cls, Event)) or cls is Event:
            raise EventError(f"{cls!r} is no kind of event; derive it from Event and give it a tag")
        tag = cls.__struct_config__.tag
        if not isinstance(tag, str) or not tag or tag == "*":
            raise EventError(
                f"{cls.__name__} needs a tag: class {cls.__name__}(Event, frozen=True, tag='name')"
            )
        if tag in self.kinds:
            raise EventError(
                f"two kinds of event are called {tag!r}: {self.kinds[tag].__name__}, {cls.__name__}"
            )
        required = [f.name for f in msgspec.structs.fields(cls)[len(HEAD) :] if f.required]
        if required:
            raise EventError(f"{cls.__name__}: fields {', '.join(required)} need defaults")

    def with_kinds(self, *kinds: type[Event]) -> Schema:
        """A schema of these kinds and further ones. Raises EventError as the constructor does."""
        return Schema(*self.kinds.values(), *kinds)

    def decode(self, data: bytes, encoding: str = "msgpack") -> Event:
        """One event from MessagePack or, with `encoding` ``json``, JSON.

        Raises EventError that says which field is wrong and how.
        """
        if len(data) > MAX_EVENT:
            raise EventError(f"an event of {len(data)} bytes; at most {MAX_EVENT} are allowed")
        decoder = self._json if encoding == "json" else self._msgpack
        try:
            event: Event = decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EventError(f"malformed event: {error}; known kinds: {', '.join(self.kinds)}") from error
        return event

    def decode_batch(self, data: bytes) -> tuple[list[Event], list[tuple[bytes, EventError]]]:
        """Events from one MessagePack array, and what in it was none, with the reason.

        Raises EventError if `data` is no MessagePack array at all.
        """
        try:
            return self._batch.decode(data), []
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        try:
            parts = msgspec.msgpack.decode(data, type=list[msgspec.Raw])
        except msgspec.MsgspecError as error:
            raise EventError(f"malformed batch of events: {error}") from error
        return self.decode_each(bytes(part) for part in parts)

    def decode_each(
        self, parts: Iterable[bytes], encoding: str = "msgpack"
    ) -> tuple[list[Event], list[tuple[bytes, EventError]]]:
        """Events from one encoded event each, and what was none, with the reason."""
        events, bad = [], []
        for part in parts:
            try:
                events.append(self.decode(part, encoding))
            except EventError as error:
                bad.append((part[:MAX_EVENT], error))
        return events, bad

    def sorted_out(self, events: Iterable[Event]) -> tuple[list[Event], list[tuple[Any, EventError]]]:
        """Events that programs have made: those that are as their kind says in what orders and finds them, and others with
        the reason. Contents and fields of kinds are not looked at.
        """
        good: list[Event] = []
        bad: list[tuple[Any, EventError]] = []
        for event in events:
            try:
                self.number(event)
                for name in ("time", "id", "instance"):
                    value = getattr(event, name)
                    if type(value) is not int or not 0 <= value <= MAX_TIME:
                        raise EventError(f"{name} {value!r} of an event: wanted an integer from 0 to 2**53")
                for text in (event.page, event.key):
                    if type(text) is not str or len(text) > MAX_TEXT or not (text.isascii() or text.encode()):
                        raise EventError(
                            f"page or key {text!r:.80} of an event: wanted at most {MAX_TEXT} characters"
                        )
            except (EventError, UnicodeEncodeError, AttributeError) as error:
                reason = error if isinstance(error, EventError) else EventError(str(error))
                bad.append((event, reason))
            else:
                good.append(event)
        return good, bad

    def encode(self, event: Event, encoding: str = "msgpack") -> bytes:
        """The event as MessagePack or JSON; `decode` makes it again."""
        return msgspec.json.encode(event) if encoding == "json" else self._encode(event)

    def number(self, event: Event) -> int:
        """Number of the event's kind. Raises EventError if the schema does not have it."""
        try:
            return self.numbers[type(event)]
        except KeyError:
            raise EventError(
                f"{type(event).__name__} is not in the schema; known kinds: {', '.join(self.kinds)}"
            ) from None

    def number_of(self, name: str) -> int:
        """Number of the kind called `name`. Raises EventError if there is none."""
        if name not in self.kinds:
            raise EventError(f"no kind of event {name!r}; known kinds: {', '.join(self.kinds)}")
        return self.numbers[self.kinds[name]]

    def defaults(self, kind: type[Event]) -> dict[str, Any]:
        """Fields that `rest` packs -> their defaults."""
        packing = self._packing[self.numbers[kind]]
        return dict(zip(packing.names, packing.defaults, strict=True))

    def rest(self, event: Event) -> bytes:
        """Contents and the kind's own fields as MessagePack; empty if all have their defaults."""
        kind = self._packing[self.numbers[type(event)]]
        values = tuple([getattr(event, name) for name in kind.names])
        return b"" if values == kind.defaults else self._encode(values)

    def make(self, kind: int, page: str, time: int, key: str, id: int, instance: int, rest: bytes) -> Event:
        """The event whose parts these are. Raises EventError if `rest` does not fit the kind."""
        packing = self._packing[kind]
        if not rest:
            return packing.cls(page, time, key, id, instance)
        try:
            return packing.cls(page, time, key, id, instance, *packing.decode(rest))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise EventError(
                f"damaged event of kind {packing.cls.__struct_config__.tag!r}: {error}"
            ) from error

    def long_page(self, page: str, rest: bytes) -> bytes:
        """`rest` with the name of the page, for an engine that numbers no more pages."""
        return self._encode((page, rest))

    def short_page(self, rest: bytes) -> tuple[str, bytes]:
        """What `long_page` was given."""
        try:
            return msgspec.msgpack.decode(rest, type=tuple[str, bytes])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EventError(f"damaged event: {error}") from error

    def damaged(self, taken: int) -> EventError:
        """The error for packed events that end in something else after `taken` events."""
        return EventError(f"damaged packed events: {taken} were read, what follows is none")


Schema.BASIC = Schema(PageEnter, PageExit, Scroll, Exposure, Click)
