"""What a page is made from and what comes of it; views know nothing else of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from walle_deploy.cloud.costs import Cost
from walle_deploy.release.gates import GateRegistry
from walle_deploy.server.answers import ApiError
from walle_deploy.server.auth import Operator
from walle_deploy.server.images import Images
from walle_deploy.server.platform import Platform
from walle_deploy.store.files import FileStore

MAX_ID = 1 << 53
Costs = Callable[[int | None], Sequence[Cost]]


@attrs.frozen
class Ask:
    """One request of somebody who may read.

    Attributes:
        platform: that is asked.
        files: of the versions; None if this server cannot read them.
        images: that devices get; None if this server does not keep them.
        gates: kinds that plans may have; this package's if None.
        costs: of samples that devices send to the cloud; None: nothing is known of a cloud.
        operator: who asks.
        path: parameters in the path.
        query: parameters after it.
        form: fields of a form that was sent; None for a page that is only read.
        now: seconds since 1970.
    """

    platform: Platform
    files: FileStore | None
    images: Images | None
    gates: GateRegistry | None
    costs: Costs | None
    operator: Operator
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str] | None
    now: float

    def require(self, right: str) -> None:
        """Raises ApiError unless the operator has the right."""
        if not self.operator.may(right):
            raise ApiError(
                403,
                f"your role, {self.operator.role}, may not do this",
                f"Ask somebody who has the right to {right}.",
            )

    def number(self, name: str) -> int | None:
        """A whole number of the query; None without one. Raises ApiError for anything else."""
        text = self.query.get(name, "")
        return whole(text, name) if text else None

    def text(self, name: str, most: int) -> str:
        """A text of the query, without the space around it, cut to `most` characters."""
        return self.query.get(name, "").strip()[:most]


def whole(text: str, name: str) -> int:
    """A number from a path or a query. Raises ApiError."""
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) >= MAX_ID:
        raise ApiError(404, f"{name} {text[:40]!r} is no number", "Go there from its page.")
    return int(text)


@attrs.frozen
class Page:
    """A page to show; `live` says whether it follows what happens: releases, or one of them ("release=3")."""

    template: str
    values: dict[str, Any]
    live: bool | str = False
    status: int = 200


@attrs.frozen
class Go:
    """Another page to go to, after something was done."""

    path: str


Answer = Page | Go
