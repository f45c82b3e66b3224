"""Comparisons of an event's fields and contents, written in plain values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from msgspec import Struct, structs

Plain = bool | int | float | str


class Test(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, rename={"in_": "in"}):
    """What a value must be; all of the comparisons that are given must hold."""

    __test__ = False  # no test of pytest's

    eq: Plain | None = None
    ne: Plain | None = None
    lt: int | float | str | None = None
    le: int | float | str | None = None
    gt: int | float | str | None = None
    ge: int | float | str | None = None
    in_: list[Plain] | None = None
    not_in: list[Plain] | None = None
    contains: Plain | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    exists: bool | None = None

    def __post_init__(self) -> None:
        given = [v for v in structs.astuple(self) if v is not None]
        if not given:
            raise ValueError(f"wanted a comparison: {', '.join(f.encode_name for f in structs.fields(Test))}")
        if any(v != v for v in given):
            raise ValueError("nothing compares with nan")


Comparison = Plain | Test
MISSING: Any = object()

_OPERATORS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "eq": ("==", operator.eq),
    "ne": ("!=", operator.ne),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "in": ("in", lambda found, wanted: found in wanted),
    "not_in": ("not in", lambda found, wanted: found not in wanted),
    "contains": ("contains", operator.contains),
    "starts_with": ("starts with", lambda found, wanted: found.startswith(wanted)),
    "ends_with": ("ends with", lambda found, wanted: found.endswith(wanted)),
    "exists": ("exists", lambda found, wanted: (found is not MISSING) == wanted),
}


@attrs.frozen
class Where:
    """The test of an event that a pattern takes as its `where`; equal ones are matched once for all tasks.

    Attributes:
        tests: (path, comparison, value). A path is a field of the event (``widget``), else an entry of its contents
            (``price``, or ``contents.price`` where a field has that name); dots go into nested ones. A value that is
            missing, or cannot be compared, satisfies no comparison but ``exists = false``.
    """

    tests: tuple[tuple[str, str, Any], ...]

    def __call__(self, event: Any) -> bool:
        """Whether the event satisfies all tests."""
        for path, name, wanted in self.tests:
            found = value_at(event, path)
            if found is MISSING and name != "exists":
                return False
            try:
                if not _OPERATORS[name][1](found, wanted):
                    return False
            except (TypeError, AttributeError):
                return False
        return True

    @property
    def __name__(self) -> str:
        """The comparisons as they are read."""
        return " and ".join(f"{path} {_OPERATORS[name][0]} {wanted!r}" for path, name, wanted in self.tests)


def value_at(event: Any, path: str) -> Any:
    """What an event has at a path, or MISSING."""
    first, *rest = path.split(".")
    if first in getattr(event, "__struct_fields__", ()):
        found = getattr(event, first)
    else:
        found, rest = getattr(event, "contents", {}), [first, *rest]
    for name in rest:
        if not isinstance(found, dict) or name not in found:
            return MISSING
        found = found[name]
    return found


def compiled(conditions: Mapping[str, Comparison]) -> Where:
    """The test for a table of conditions."""
    tests: list[tuple[str, str, Any]] = []
    for path, comparison in conditions.items():
        if not isinstance(comparison, Test):
            tests.append((path, "eq", comparison))
            continue
        for field in structs.fields(comparison):
            value = getattr(comparison, field.name)
            if value is not None:
                tests.append((path, field.encode_name, tuple(value) if isinstance(value, list) else value))
    return Where(tuple(tests))
