"""Conditions on one attribute, and how they are written."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from walle_deploy.policies.contract import Place, Rule, Verdict
from walle_deploy.policies.versions import version
from walle_deploy.profile import TEXT, Profile

MISSING = object()
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
OPPOSITE = {
    "eq": "ne", "in": "not_in", "<": ">=", ">": "<=", "==": "!=", "contains": "lacks", "exists": "absent",
}  # fmt: skip
OPPOSITE |= {value: key for key, value in OPPOSITE.items()}
WRITTEN = {
    "eq": "eq", "ne": "ne", "in": "in", "not_in": "not_in", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "contains": "contains", "exists": "exists",
}  # fmt: skip
ITEMS = 100_000  # of a list
_COMPARED = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(.*?)\s*", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def kind_of(value: object) -> str:
    """``text``, ``number``, ``bool``, ``list`` or ``missing``: values of two kinds are never compared."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list) else "missing"


def number(text: str) -> float | None:
    """The number that `text` writes; None if it writes none."""
    return float(text) if _NUMBER.fullmatch(text) else None


@attrs.frozen
class Condition(Rule):
    """One question about one attribute. Unknown if the profile lacks it or has another kind of value there.

    Attributes:
        where: ``device`` or ``user``.
        name: of the attribute.
        op: eq, ne, in, not_in, contains, lacks, exists, absent, or a sign of `ORDER`.
        operand: text, number or bool; a tuple of one kind for in and not_in. A text beside a sign is a version, or a
            number where the profile has a number.
    """

    where: str
    name: str
    op: str
    operand: Any

    def judge(self, value: Any) -> Verdict:
        """The verdict for an attribute's value; `MISSING` if there is none."""
        op, operand = self.op, self.operand
        if op in ("exists", "absent"):
            return (value is not MISSING) is (op == "exists")
        kind = kind_of(value)
        if op in ("eq", "ne"):
            return None if kind != kind_of(operand) else (value == operand) is (op == "eq")
        if op in ("in", "not_in"):
            return None if kind != kind_of(operand[0]) else (value in operand) is (op == "in")
        if op in ("contains", "lacks"):
            return None if kind != "list" else (operand in value) is (op == "contains")
        if kind == "number":
            bound = number(operand) if isinstance(operand, str) else operand
            return None if bound is None else ORDER[op](value, bound)
        if kind == "text" and isinstance(operand, str):
            mine, other = version(value), version(operand)
            return None if mine is None or other is None else ORDER[op](mine, other)
        return None

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        return self.judge(getattr(profile, self.where).get(self.name, MISSING))

    def opposite(self) -> Condition:
        """The condition whose verdict is the other one; unknown for the same profiles."""
        return attrs.evolve(self, op=OPPOSITE[self.op])

    def label(self) -> str:
        """See Rule."""
        if self.op in ("exists", "absent"):
            return f"{self.where}.{self.name} {self.op}"
        operand = list(self.operand) if isinstance(self.operand, tuple) else self.operand
        text = repr(operand)
        return f"{self.where}.{self.name} {self.op} {text if len(text) <= 120 else text[:117] + '...'}"

    def detail(self, profile: Profile) -> str:
        """See Rule."""
        value = getattr(profile, self.where).get(self.name, MISSING)
        if value is MISSING:
            return "the profile lacks it"
        text = repr(value)
        text = f"found {text if len(text) <= 120 else text[:117] + '...'}"
        return f"{text}, which cannot be compared" if self.judge(value) is None else text


def read(where: str, name: str, value: Any, place: Place) -> list[Condition]:
    """The conditions that ``name = value`` writes. Raises PolicyError."""
    if isinstance(value, Mapping):
        if not value:
            raise place.error(value, f"one of {', '.join(WRITTEN)}", name)
        made = []
        for key, operand in value.items():
            if key not in WRITTEN:
                raise place.error(key, f"one of {', '.join(WRITTEN)}", name)
            made.append(Condition(where, name, WRITTEN[key], _operand(key, operand, place, (name, key))))
            if key == "exists" and not operand:
                made[-1] = attrs.evolve(made[-1], op="absent", operand=True)
        return made
    if isinstance(value, str) and _COMPARED.fullmatch(value):
        made = []
        for part in value.split(","):
            found = _COMPARED.fullmatch(part)
            if found is None or (version(found[2]) is None and number(found[2]) is None):
                raise place.error(
                    value, "comparisons such as '>=12.1,<14'; for the plain text {eq = ...}", name
                )
            made.append(Condition(where, name, found[1], found[2]))
        return made
    op = "in" if isinstance(value, list | tuple) else "eq"
    return [Condition(where, name, op, _operand(op, value, place, (name,)))]


def _operand(key: str, value: Any, place: Place, steps: tuple[str, ...]) -> Any:
    if key in ("in", "not_in"):
        if not isinstance(value, list | tuple) or not 0 < len(value) <= ITEMS:
            raise place.error(value, f"a list of 1 to {ITEMS} values", *steps)
        items = tuple(_scalar(item, place, (*steps, str(index))) for index, item in enumerate(value))
        if {kind_of(item) for item in items} not in ({"text"}, {"number"}):
            raise place.error(value, "a list of texts or a list of numbers", *steps)
        return items
    if key == "exists":
        if not isinstance(value, bool):
            raise place.error(value, "true or false", *steps)
        return True
    value = _scalar(value, place, steps)
    if key == "contains" and not isinstance(value, str):
        raise place.error(value, "a text", *steps)
    if key in ("lt", "le", "gt", "ge") and (
        isinstance(value, bool)
        or (isinstance(value, str) and version(value) is None and number(value) is None)
    ):
        raise place.error(value, "a number or a version such as '12.1'", *steps)
    return value


def _scalar(value: Any, place: Place, steps: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        if is_text(value, TEXT):
            return value
    elif (
        isinstance(value, bool)
        or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    raise place.error(
        value, f"a text of at most {TEXT} bytes, a finite number of 64 bits, true or false", *steps
    )


def is_text(value: str, most: int) -> bool:
    """Whether a text can be written in UTF-8, in at most so many bytes."""
    try:
        return len(value) <= most and (value.isascii() or len(value.encode()) <= most)
    except UnicodeEncodeError:
        return False
