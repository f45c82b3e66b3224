"""One attribute, and for each value that it may have the bits of the clauses that the value rules out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable
from typing import Any

from walle_deploy.policies.conditions import MISSING, Condition, kind_of, number
from walle_deploy.policies.ladders import Ladder, bits
from walle_deploy.policies.versions import version

REMEMBERED = 1024  # values per attribute
SIGNS = ("<", "<=", ">", ">=")


class Facet:
    """What clauses ask of one attribute.

    A clause's first comparison with given values (eq, in) is found by a look-up, its first `contains` too; bounds are
    sorted. All other conditions are asked once for each class of values that they cannot tell apart.
    """

    def __init__(self) -> None:
        self.slots: dict[Hashable, list[int]] = {}  # value -> clauses that want it
        self.items: dict[str, list[int]] = {}  # item of a list -> clauses that want it
        self.valued: set[int] = set()
        self.listed: set[int] = set()
        self.other: dict[tuple[Condition, str], list[int]] = {}  # with the kind of operand: 1 == True

    def add(self, slot: int, condition: Condition) -> None:
        """The clause `slot` has this condition."""
        op, operand = condition.op, condition.operand
        if op in ("eq", "in") and slot not in self.valued and not isinstance(operand, bool):
            self.add_values(slot, operand if op == "in" else (operand,))
        elif op == "contains" and slot not in self.listed:
            self.listed.add(slot)
            self.items.setdefault(operand, []).append(slot)
        else:
            self.other.setdefault((condition, kind_of(operand)), []).append(slot)

    def add_values(self, slot: int, values: Iterable[Hashable]) -> None:
        """The clause `slot` wants one of `values`."""
        self.valued.add(slot)
        for value in set(values):
            self.slots.setdefault(value, []).append(slot)

    def finish(self, size: int) -> None:
        """No clause comes any more; there are `size`."""
        self.size, self.full = size, (1 << size) - 1
        self.valued_bits, self.listed_bits = bits(self.valued, size), bits(self.listed, size)
        self.tests: list[tuple[Condition, int]] = []
        bounded: dict[str, list[tuple[Any, list[int]]]] = {}
        for (condition, _), slots in self.other.items():
            if condition.op in SIGNS:
                bounded.setdefault(condition.op, []).append((condition.operand, slots))
            else:
                self.tests.append((condition, bits(slots, size)))
        self.bounded_bits = bits(
            (slot for some in bounded.values() for _, slots in some for slot in slots), size
        )
        self.number_ladders, self.no_number = self._ladders(bounded, _as_number)
        self.version_ladders, self.no_version = self._ladders(bounded, _as_version)
        words: set[Any] = set()  # what conditions compare for equality, or look for in lists
        for condition, _ in self.other:
            words.update(condition.operand if isinstance(condition.operand, tuple) else [condition.operand])
        self.words = words
        self.numbers = sorted({found for word in words if (found := _as_number(word)) is not None})
        self.versions = sorted({found for word in words if (found := _as_version(word)) is not None})
        self.by_value: dict[Any, int] = {}
        self.by_class: dict[Hashable, int] = {}
        self.untold = None if self.other else self.full & ~(self.valued_bits | self.listed_bits)
        self.missing = self._allowed(MISSING)

    def _ladders(
        self, bounded: dict[str, list[tuple[Any, list[int]]]], read: Any
    ) -> tuple[list[Ladder], int]:
        """Ladders of the bounds that `read` can read, and the clauses of those that it cannot."""
        made, lost = [], []
        for sign, some in bounded.items():
            rungs = [(read(bound), slots) for bound, slots in some]
            made.append(Ladder(sign, [rung for rung in rungs if rung[0] is not None], self.size))
            lost += [slot for bound, slots in rungs if bound is None for slot in slots]
        return made, bits(lost, self.size)

    def allowed(self, value: Any) -> int:
        """The clauses that `value`, a text, number, bool or list, does not rule out."""
        kind = type(value)
        if kind is bool or kind is float:
            return self._allowed(value)
        key = tuple(value) if kind is list else value
        found = self.by_value.get(key)
        if found is None:
            if self.untold is not None and kind is not list and value not in self.slots:
                return self.untold
            found = self._allowed(value)
            if len(self.by_value) >= REMEMBERED:
                self.by_value = {}
            self.by_value[key] = found
        return found

    def _allowed(self, value: Any) -> int:
        kind = kind_of(value)
        left = self._told(kind, value) if self.other else self.full
        if self.valued:
            wanted = self.slots.get(value, ()) if kind in ("text", "number") else ()
            left &= ~self.valued_bits | bits(wanted, self.size)
        if self.listed:
            wanted = [slot for item in value for slot in self.items.get(item, ())] if kind == "list" else []
            left &= ~self.listed_bits | bits(wanted, self.size)
        return left

    def _told(self, kind: str, value: Any) -> int:
        mine = version(value) if kind == "text" else None
        key = self._class(kind, value, mine)
        left = self.by_class.get(key)
        if left is None:
            failed = self.bounded_bits
            if kind == "number":
                failed = self.no_number
                for ladder in self.number_ladders:
                    failed |= ladder.failed(value)
            elif mine is not None:
                failed = self.no_version
                for ladder in self.version_ladders:
                    failed |= ladder.failed(mine)
            for condition, mask in self.tests:
                if condition.judge(value) is not True:
                    failed |= mask
            left = self.full & ~failed
            if len(self.by_class) >= REMEMBERED:
                self.by_class = {}
            self.by_class[key] = left
        return left

    def _class(self, kind: str, value: Any, mine: Any) -> Hashable:
        """Values of one class get the same verdict from every condition in `other`."""
        if kind == "number":
            return kind, bisect_left(self.numbers, value), bisect_right(self.numbers, value)
        if kind == "text":
            word = value if value in self.words else None
            if mine is None:
                return kind, word
            return kind, word, bisect_left(self.versions, mine), bisect_right(self.versions, mine)
        if kind == "list":
            return kind, frozenset(self.words.intersection(value))
        return kind, value if kind == "bool" else None


def _as_number(bound: Any) -> Any:
    return number(bound) if isinstance(bound, str) else bound


def _as_version(bound: Any) -> Any:
    return version(bound) if isinstance(bound, str) else None
