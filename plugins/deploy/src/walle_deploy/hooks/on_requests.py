"""Push-then-pull on the requests of requests; needs the extra `requests`."""

from __future__ import annotations

import copy
from typing import Any

import requests
from requests.adapters import BaseAdapter

from walle_deploy.hooks.headers import ANSWER
from walle_deploy.hooks.origins import origin_of
from walle_deploy.hooks.piggyback import Piggyback


def attach(session: requests.Session, piggyback: Piggyback) -> None:
    """From now on the session's requests to the origins of `piggyback` carry the profile. Attaching again does nothing.

    An adapter that the application mounts for such an origin later takes its place: mount first, then attach.
    """
    for origin in piggyback.origins:
        scheme, _, rest = origin.partition("://")
        host, _, port = rest.rpartition(":")
        names = [origin, f"{scheme}://{host}"] if port == _PORTS[scheme] else [origin]
        for name in names:
            inner = session.get_adapter(f"{name}/")
            if not isinstance(inner, ProfileAdapter):
                session.mount(f"{name}/", ProfileAdapter(piggyback, inner))


_PORTS = {"http": "80", "https": "443"}


class ProfileAdapter(BaseAdapter):
    """Adds the profile to what `inner` sends.

    The headers are in a copy of the request: a redirect, or the application sending it again, starts from the original.
    """

    def __init__(self, piggyback: Piggyback, inner: BaseAdapter) -> None:
        super().__init__()
        self.piggyback, self.inner = piggyback, inner

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """See requests.adapters.BaseAdapter."""
        origin = origin_of(request.url or "")
        pairs = self.piggyback.headers(origin)
        if not pairs:
            return self.inner.send(request, *arguments, **options)
        sent = copy.copy(request)
        sent.headers = request.headers.copy()
        sent.headers.update(pairs)
        response = self.inner.send(sent, *arguments, **options)
        response.request = request
        self.piggyback.received(origin, response.headers.get(ANSWER))
        return response

    def close(self) -> None:
        """See requests.adapters.BaseAdapter."""
        self.inner.close()
