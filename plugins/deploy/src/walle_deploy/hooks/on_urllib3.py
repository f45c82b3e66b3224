"""Push-then-pull on the requests of urllib3."""

from __future__ import annotations

from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from walle_deploy.hooks.headers import ANSWER, PROFILE
from walle_deploy.hooks.piggyback import Piggyback


def attach(manager: urllib3.PoolManager, piggyback: Piggyback) -> None:
    """From now on the manager's requests to the origins of `piggyback` carry the profile; its open pools are closed.

    Through a proxy only https does: plain http goes to the proxy, which is none of the origins.
    """
    kinds = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    manager.clear()
    manager.pool_classes_by_scheme = {
        scheme: type("ProfilePool", (_ProfilePool, kind), {"piggyback": piggyback})
        for scheme, kind in kinds.items()
    }


class _ProfilePool(HTTPConnectionPool):
    """One hop at a time: redirects to another host go to that host's pool, with the headers that the caller gave."""

    piggyback: Piggyback

    def urlopen(self, *arguments: Any, **options: Any) -> urllib3.BaseHTTPResponse:
        headers = options.get("headers")
        headers = self.headers if headers is None else headers
        origin = self.scheme, self.host.strip("[]").lower(), self.port
        pairs = () if PROFILE in headers else self.piggyback.headers(origin)
        if not pairs or len(arguments) > 3:  # its own repetition gives the headers by place
            return super().urlopen(*arguments, **options)
        made = urllib3.HTTPHeaderDict(headers)
        made.update(pairs)
        options["headers"] = made
        response = super().urlopen(*arguments, **options)
        self.piggyback.received(origin, response.headers.get(ANSWER))
        return response
