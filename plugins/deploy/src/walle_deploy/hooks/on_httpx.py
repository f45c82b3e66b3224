"""Push-then-pull on the requests of httpx; needs the extra `httpx`."""

from __future__ import annotations

import logging

import attrs
import httpx

from walle_deploy.hooks.headers import ANSWER
from walle_deploy.hooks.origins import Origin
from walle_deploy.hooks.piggyback import Piggyback

_ADDED = "walle"  # of a request's extensions

log = logging.getLogger(__name__)


def attach(client: httpx.Client | httpx.AsyncClient, piggyback: Piggyback) -> None:
    """From now on the client's requests to the origins of `piggyback` carry the profile. Attaching again does nothing.

    The application's own hooks see neither the profile nor the token.
    """
    hooks, given = _Hooks(piggyback), client.event_hooks
    if any(isinstance(getattr(hook, "__self__", None), _Hooks) for hook in given["request"]):
        return
    waits = isinstance(client, httpx.AsyncClient)
    given["request"].append(hooks.before_async if waits else hooks.before)
    given["response"].insert(0, hooks.after_async if waits else hooks.after)


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.raw_host.decode("ascii"), url.port


@attrs.frozen
class _Hooks:
    """httpx calls the hooks once per hop of a redirect, and builds the next hop's headers from this one's."""

    piggyback: Piggyback

    def before(self, request: httpx.Request) -> None:
        try:
            _clean(request)
            pairs = self.piggyback.headers(_origin(request.url))
            if pairs:
                request.extensions[_ADDED] = pairs
                headers = request.headers
                for name, value in pairs:
                    headers[name] = value
        except Exception:
            log.debug("no profile for a request", exc_info=True)

    def after(self, response: httpx.Response) -> None:
        try:
            request = response.request
            if _clean(request):
                self.piggyback.received(_origin(request.url), response.headers.get(ANSWER))
        except Exception:
            log.debug("no use of a response's header", exc_info=True)

    async def before_async(self, request: httpx.Request) -> None:
        self.before(request)

    async def after_async(self, response: httpx.Response) -> None:
        self.after(response)


def _clean(request: httpx.Request) -> bool:
    """Takes away what `before` has added; whether that was anything."""
    pairs = request.extensions.pop(_ADDED, ())
    for name, _ in pairs:
        del request.headers[name]
    return bool(pairs)
