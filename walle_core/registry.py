"""Registry: named things that plugins offer, and who offered each."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import get_annotations
from typing import Generic, TypeVar

from walle_core.errors import PluginError, UnsupportedError

T = TypeVar("T")


class Registry(Generic[T]):
    """Items by name, in the order of registration. Refuses duplicates and items that break their protocol.

    Args:
        kind: what an item is, for messages: ``backend``, ``frontend``, ...
        protocol: class whose public members every item must have; None accepts anything.
        adder: name of the plugin that is registering.
    """

    def __init__(self, kind: str, protocol: type | None = None, adder: str = "core") -> None:
        self.kind = kind
        self.protocol = protocol
        self.adder = adder
        self._items: dict[str, T] = {}
        self._adders: dict[str, str] = {}

    def add(self, item: T, name: str | None = None) -> T:
        """Registers `item` under `name` (default: its own attribute ``name``) and returns it.

        Raises PluginError if the name is missing or taken, or if the item lacks a member of the protocol.
        """
        found = getattr(item, "name", None) if name is None else name
        if not isinstance(found, str) or not found:
            raise PluginError(f"{self.kind} {item!r} has no name; give it a non-empty attribute `name`")
        if found in self._items:
            raise PluginError(f"{self.kind} {found!r} is already registered by {self._adders[found]!r}")
        if self.protocol is not None and (missing := self._missing(item)):
            what = ", ".join(missing)
            raise PluginError(f"{self.kind} {found!r} lacks {what} of the protocol {self.protocol.__name__}")
        self._items[found] = item
        self._adders[found] = self.adder
        return item

    def _missing(self, item: T) -> list[str]:
        assert self.protocol is not None
        members = {n for n, v in vars(self.protocol).items() if not n.startswith("_") and callable(v)}
        members |= set(get_annotations(self.protocol))
        return sorted(m for m in members if not hasattr(item, m))

    def get(self, name: str) -> T:
        """The item called `name`. Raises UnsupportedError with the known names and the nearest one."""
        try:
            return self._items[name]
        except KeyError:
            from difflib import get_close_matches

            near = get_close_matches(name, self._items, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self._items) or "none"
            raise UnsupportedError(f"no {self.kind} {name!r}; installed: {known}{hint}") from None

    def added_by(self, name: str) -> str:
        """Name of the plugin that registered `name`. Raises UnsupportedError if there is no such item."""
        self.get(name)
        return self._adders[name]

    def of(self, adder: str) -> list[str]:
        """Names that the plugin `adder` registered."""
        return [name for name, who in self._adders.items() if who == adder]

    def copy(self, adder: str) -> Registry[T]:
        """An independent registry with the same items, into which the plugin `adder` registers."""
        made: Registry[T] = Registry(self.kind, self.protocol, adder)
        made._items = dict(self._items)
        made._adders = dict(self._adders)
        return made

    def items(self) -> list[tuple[str, T]]:
        """(name, item) pairs in the order of registration."""
        return list(self._items.items())

    def values(self) -> list[T]:
        """Items in the order of registration."""
        return list(self._items.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}s: {', '.join(self._items)}>"
