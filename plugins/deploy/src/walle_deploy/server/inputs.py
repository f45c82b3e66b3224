"""What is taken from people and devices: how long, and without what a database refuses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from walle_deploy.errors import DeployError, PolicyError
from walle_deploy.server.refusals import TooLargeError
from walle_deploy.server.types import DeviceReport
from walle_deploy.task.values import TASK_NAME

WHO, REASON, MESSAGE, POLICY, PLAN = 200, 4000, 64 << 10, 4 << 20, 256 << 10
REPORTS, VALUES, WHY = 256, 64, 4096  # in one call, in one report, characters of a failure
KEPT = 500  # of these
LARGEST = 2**32 - 1  # number of a version

_TASK = re.compile(TASK_NAME.replace("$", r"\Z"))
_DEVICE = re.compile(r"[\x21-\x7e]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")


def short(text: str, most: int) -> str:
    """At most so many characters, all of which a database takes."""
    return plain(text if len(text) <= most else text[: most - 1] + "…")


def plain(text: str) -> str:
    """Without NUL and without what is no Unicode."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def words(what: str, text: str, most: int, *, empty: bool = True) -> str:
    """`text`, if it can be kept. Raises DeployError, TooLargeError."""
    if not isinstance(text, str) or plain(text) != text:
        raise DeployError(f"{what}: it is no Unicode text, or has NUL; leave that out")
    if len(text) > most:
        raise TooLargeError(f"{what}: {len(text)} characters; make it {most} or less")
    if not text.strip() and not empty:
        raise DeployError(f"{what}: it is empty; say who or what it is")
    return text


def is_task(name: str) -> bool:
    """Whether a task can have this name."""
    return _TASK.match(name) is not None


def task_name(name: str) -> str:
    """`name`, if a task can have it. Raises DeployError."""
    if not isinstance(name, str) or not is_task(name):
        raise DeployError(
            f"task {name!r:.100}: use 1 to 64 of a-z 0-9 _ -, the first and last a letter or digit"
        )
    return name


def segment_name(name: str) -> str:
    """`name`, if a segment can have it. Raises DeployError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DeployError(
            f"segment {name!r:.100}: use 1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit"
        )
    return name


def device_id(device: str) -> str:
    """`device`, if it can be one. Raises DeployError."""
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise DeployError(f"device {device!r:.140}: an id has 1 to 128 visible ASCII characters")
    return device


def version_number(number: int) -> int:
    """`number`, if a version can have it. Raises DeployError."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= LARGEST:
        raise DeployError(f"version {number!r:.40}: it must be a number from 1 to {LARGEST}")
    return number


def as_json(what: str, value: Mapping[str, Any], most: int) -> str:
    """A policy or plan as it is kept. Raises PolicyError, TooLargeError."""
    try:
        made = msgspec.json.encode(value, order="sorted")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PolicyError(f"{what}: it cannot be written as JSON: {error}") from error
    if len(made) > most:
        raise TooLargeError(f"{what}: {len(made)} bytes as JSON; make it {most} or less")
    return made.decode()


def checked(reports: Sequence[DeviceReport]) -> Sequence[DeviceReport]:
    """`reports`, if they can be taken. Raises DeployError, TooLargeError."""
    if len(reports) > REPORTS:
        raise TooLargeError(f"{len(reports)} reports; send at most {REPORTS} at once")
    for each in reports:
        if len(each.values) > VALUES or len(each.why) > WHY:
            raise TooLargeError(
                f"a report of {each.task[:70]!r}: {len(each.values)} values, {len(each.why)} characters of a reason; send "
                f"at most {VALUES} and {WHY}"
            )
        if not -(1 << 63) <= each.number < 1 << 63 or (each.version is not None and len(each.version) > 32):
            raise DeployError(
                f"a report of {each.task[:70]!r}: its number needs more than 64 bits, or its version is none"
            )
    return reports


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
