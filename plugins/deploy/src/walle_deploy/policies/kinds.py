"""The built-in kinds of policies: what they take and the rules they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import attrs

from walle_deploy.buckets import MILLION
from walle_deploy.policies.conditions import is_text, read
from walle_deploy.policies.contract import Place, Rule
from walle_deploy.policies.rules import All, AnyOf, Everyone, Ids, Not, Segment, Share
from walle_deploy.profile import ID

CONDITIONS = PARTS = 256  # of one table, of one list
ITEMS = 100_000  # of one list of devices
SALT_BYTES = 256


@attrs.frozen
class _Kind:
    schema: Mapping[str, Any]
    compile: Callable[[Any, Place], Rule]


def _everyone(params: Any, place: Place) -> Rule:
    if params is not True:
        raise place.error(params, "true")
    return Everyone()


def _uniform(params: Any, place: Place) -> Rule:
    wanted = "a table with salt, and percent or ppm"
    if not isinstance(params, Mapping) or set(params) not in ({"salt", "percent"}, {"salt", "ppm"}):
        raise place.error(params, wanted)
    key = "ppm" if "ppm" in params else "percent"
    amount, scale = params[key], 1 if key == "ppm" else MILLION // 100
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= MILLION // scale:
        raise place.error(amount, f"a number from 0 to {MILLION // scale}", key)
    exact = Fraction(repr(amount)) * scale  # of the digits as they are written: 0.0003 % is 3 ppm
    if exact.denominator != 1:
        raise place.error(amount, f"steps of {'1 ppm' if scale == 1 else '0.0001 %'}", key)
    return Share(_salt(params["salt"], place), exact.numerator)


def _salt(salt: Any, place: Place) -> str:
    if isinstance(salt, str) and "\0" not in salt and is_text(salt, SALT_BYTES):
        return salt
    raise place.error(salt, f"a text of at most {SALT_BYTES} bytes without NUL", "salt")


def _attributes(where: str) -> Callable[[Any, Place], Rule]:
    def compile(params: Any, place: Place) -> Rule:
        if not isinstance(params, Mapping) or not 0 < len(params) <= CONDITIONS:
            raise place.error(params, f"a table of 1 to {CONDITIONS} attributes, such as {{os = 'android'}}")
        made: list[Rule] = []
        for name, value in params.items():
            if not isinstance(name, str) or not name:
                raise place.error(name, "the name of an attribute")
            made += read(where, name, value, place)
        return made[0] if len(made) == 1 else All(tuple(made))

    return compile


def _devices(params: Any, place: Place) -> Rule:
    if not isinstance(params, list | tuple) or not 0 < len(params) <= ITEMS:
        raise place.error(params, f"a list of 1 to {ITEMS} device ids")
    for index, one in enumerate(params):
        if not isinstance(one, str) or not one or not is_text(one, ID):
            raise place.error(one, f"a device id: a text of 1 to {ID} bytes", index)
    return Ids(frozenset(params))


def _segment(params: Any, place: Place) -> Rule:
    if not isinstance(params, str):
        raise place.error(params, "the name of a segment")
    return Segment(params, (place.segment(params),))


def _parts(params: Any, place: Place) -> tuple[Rule, ...]:
    if not isinstance(params, list | tuple) or not 0 < len(params) <= PARTS:
        raise place.error(params, f"a list of 1 to {PARTS} policies")
    return tuple(place.inner(part, index) for index, part in enumerate(params))


_POLICY = {"$ref": "#"}
_SEVERAL = {"type": "array", "items": _POLICY, "minItems": 1, "maxItems": PARTS}
_SCALAR = {"type": ["string", "number", "boolean"]}
_LIST = {"type": "array", "minItems": 1}
_TABLE = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _SCALAR),
        **dict.fromkeys(("in", "not_in"), _LIST),
        "contains": {"type": "string"},
        "exists": {"type": "boolean"},
    },
}
_ATTRIBUTES = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": CONDITIONS,
    "additionalProperties": {"anyOf": [_SCALAR, _LIST, _TABLE]},
}

EVERYONE = _Kind({"const": True}, _everyone)
UNIFORM = _Kind(
    {
        "type": "object",
        "properties": {
            "salt": {"type": "string"},
            "percent": {"type": "number", "minimum": 0, "maximum": 100},
            "ppm": {"type": "integer", "minimum": 0, "maximum": MILLION},
        },
        "required": ["salt"],
        "oneOf": [{"required": ["percent"]}, {"required": ["ppm"]}],
        "additionalProperties": False,
    },
    _uniform,
)
DEVICE, USER = _Kind(_ATTRIBUTES, _attributes("device")), _Kind(_ATTRIBUTES, _attributes("user"))
DEVICES = _Kind({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": ITEMS}, _devices)
SEGMENT = _Kind({"type": "string"}, _segment)
ALL = _Kind(_SEVERAL, lambda params, place: All(_parts(params, place)))
ANY = _Kind(_SEVERAL, lambda params, place: AnyOf(_parts(params, place)))
NOT = _Kind(_POLICY, lambda params, place: Not((place.inner(params),)))
