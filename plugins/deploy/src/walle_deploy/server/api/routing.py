"""One table of operations: method, path, right, and the types of what goes in and comes out. All else follows from it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any

import attrs
import msgspec
from msgspec import Meta

from walle_deploy.server.answers import Receive, Scope, Send
from walle_deploy.server.auth import DEVICE_ID, Operator
from walle_deploy.server.services import Services
from walle_deploy.task.values import TASK_NAME

PREFIX = "/api/v1"
BODY = 1 << 20  # bytes of JSON, where an operation does not say otherwise

Why = Annotated[str, Meta(max_length=2000)]
Table = dict[str, Any]

PLACES: dict[str, Any] = {
    "task": Annotated[str, Meta(pattern=TASK_NAME + r"\Z", description="name of a task")],
    "segment": Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", description="name of a segment")
    ],
    "number": Annotated[int, Meta(ge=1, lt=2**31, description="number of a version")],
    "release": Annotated[int, Meta(ge=1, lt=2**31, description="number of a release")],
    "token": Annotated[int, Meta(ge=1, lt=2**31, description="number of a token")],
    "device": Annotated[str, Meta(pattern=DEVICE_ID, description="id of a device")],
    "role": Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z", description="role of the image metadata")
    ],
    "sha256": Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="SHA-256 of a file")],
}
"""What stands between braces in paths."""


@attrs.frozen
class Call:
    """One request that may be made: who makes it, and everything in it, of its types."""

    services: Services
    operator: Operator
    place: dict[str, Any]
    query: Any
    body: Any

    @property
    def who(self) -> str:
        """For the audit log."""
        return self.operator.name


Function = Callable[[Call], Any]
Raw = Callable[[Call, Scope, Receive, Send], Awaitable[None]]


@attrs.frozen
class Operation:
    """One thing that operators can ask.

    Attributes:
        method: of HTTP.
        path: below `PREFIX`, with places in braces.
        right: that the token's role must give.
        function: takes a Call in a thread, returns what `returns` says. None for one that is an ASGI callable.
        raw: an ASGI callable with a Call instead of JSON: for files, and for what does not end.
        body: type of the JSON body; None for none.
        query: a Struct of the parameters; None for none.
        returns: type of the answer; None for no body.
        status: of the answer.
        limit: bytes of the body.
        summary: in one line.
    """

    method: str
    path: str
    right: str
    summary: str
    function: Function | None = None
    raw: Raw | None = None
    body: Any = None
    query: Any = None
    returns: Any = None
    status: int = 200
    limit: int = BODY

    @property
    def places(self) -> list[str]:
        """Names between braces."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def name(self) -> str:
        """Unique among all."""
        made = self.function or self.raw
        assert made is not None
        return str(made.__name__)


class Operations:
    """The table, filled by the modules that are about one kind of thing each."""

    def __init__(self) -> None:
        self._all: list[Operation] = []

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._all)

    def add(self, method: str, path: str, right: str, **about: Any) -> Callable[[Function], Function]:
        """Adds the decorated function; its docstring is the summary."""

        def made(function: Function) -> Function:
            self._all.append(Operation(method, path, right, _summary(function), function, **about))
            return function

        return made

    def add_raw(self, method: str, path: str, right: str, **about: Any) -> Callable[[Raw], Raw]:
        """Adds the decorated ASGI callable, which takes the Call first."""

        def made(function: Raw) -> Raw:
            self._all.append(Operation(method, path, right, _summary(function), None, function, **about))
            return function

        return made


def _summary(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a long list, newest first."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Annotated[int, Meta(ge=1)] | None = None


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    why: Why = ""
