"""The dashboard as an application of its own: its routes, and the headers that keep browsers strict."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl, quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from walle_deploy.errors import DeployError
from walle_deploy.release.gates import GateRegistry
from walle_deploy.server.answers import ApiError
from walle_deploy.server.auth import Tokens
from walle_deploy.server.hub import Hub
from walle_deploy.server.images import Images
from walle_deploy.server.logs import event
from walle_deploy.server.pages import live, login, rendering
from walle_deploy.server.pages.asking import Answer, Ask, Costs, Go, Page
from walle_deploy.server.pages.session import Sessions
from walle_deploy.server.pages.site import MAX_FIELDS, Site, Visit
from walle_deploy.server.pages.views import VIEWS
from walle_deploy.server.pages.views.acting import DONE
from walle_deploy.server.platform import Platform
from walle_deploy.store.files import FileStore

FOREVER = "public, max-age=31536000, immutable"
STRICT = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
Endpoint = Callable[[Request], Awaitable[Response]]


def pages(
    platform: Platform,
    tokens: Tokens,
    *,
    secret: bytes,
    files: FileStore | None = None,
    images: Images | None = None,
    hub: Hub | None = None,
    gates: GateRegistry | None = None,
    costs: Costs | None = None,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """The dashboard, to be mounted at "/" or below a path.

    Args:
        platform: that is shown and changed.
        tokens: of operators, who log in with them.
        secret: of the server; cookies are encrypted with a key that is derived from it.
        files: of the versions, for the differences between two; without them only names and sizes are compared.
        images: that devices get, so that only what is published is released; without them that is not asked.
        hub: of those who listen to changes, shared with the API; one of its own if None.
        gates: kinds that plans may have; this package's if None.
        costs: what samples cost that devices send to the cloud, of so many days; None: nothing is known of a cloud.
        clock: seconds since 1970.
    """
    hub = hub or Hub(lambda known: run_in_threadpool(platform.changed, known))
    site = Site(platform, tokens, Sessions(secret, clock), hub, files, images, gates, costs, clock)
    routes = [
        Route("/login", partial(login.show, site), methods=["GET"]),
        Route("/login", partial(login.enter, site), methods=["POST"]),
        Route("/logout", partial(login.leave, site), methods=["POST"]),
        Route("/live", partial(live.stream, site), methods=["GET"]),
        Route("/static/{digest}/{name}", _static, methods=["GET"]),
    ]
    routes += [
        Route(path, _endpoint(site, view, section), methods=list(methods))
        for path, methods, view, section in VIEWS
    ]
    missing, refused = partial(_missing, site), partial(_refused, site)
    handlers = {404: missing, 405: missing, DeployError: refused, Exception: refused}
    return strict(Starlette(routes=routes, exception_handlers=handlers))


def _endpoint(site: Site, view: Callable[[Ask], Answer], section: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        visit = await site.visit(request)
        try:
            if visit.operator is None:
                return _unknown(visit)
            form = await site.form(visit) if request.method == "POST" else None
            return await run_in_threadpool(_answer, view, section, visit, form)
        except Exception as error:
            return visit.refusal(error)

    return endpoint


def _unknown(visit: Visit) -> Response:
    """To the login, and from there to the page that was asked for."""
    request = visit.request
    if request.method != "GET":
        return visit.go("/login")
    if (
        request.headers.get("sec-fetch-site") == "cross-site"
    ):  # such requests have no cookie; the next one has it
        return visit.page(Page("hop.html", {"path": login.safe(visit.here)}))
    return visit.go("/login" if visit.here == "/" else f"/login?next={quote(visit.here, safe='')}")


def _answer(
    view: Callable[[Ask], Answer], section: str, visit: Visit, form: Mapping[str, str] | None
) -> Response:
    assert visit.operator is not None
    site, request = visit.site, visit.request
    try:
        query = dict(parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise ApiError(
            400, f"more than {MAX_FIELDS} parameters", "Open the page and use its forms."
        ) from error
    ask = Ask(
        site.platform,
        site.files,
        site.images,
        site.gates,
        site.costs,
        visit.operator,
        request.path_params,
        query,
        form,
        site.clock(),
    )
    made = view(ask)
    if isinstance(made, Go):
        event("changed", method=request.method, path=request.url.path, who=visit.operator.name, status=303)
        return visit.go(made.path)
    return visit.page(made, section, DONE.get(query.get("done", ""), ""))


async def _static(request: Request) -> Response:
    found = rendering.static(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    return Response(found[0], media_type=found[1], headers={"cache-control": FOREVER})


async def _missing(site: Site, request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    visit = await site.visit(request)
    if status == 405:
        return visit.refusal(
            ApiError(405, f"{request.method} is not possible here", "Open the page and use its forms.")
        )
    return visit.refusal(
        ApiError(404, "there is no such page", "See whether the address is written correctly.")
    )


async def _refused(site: Site, request: Request, error: Exception) -> Response:
    """When not even who asks can be found out."""
    return Visit(site, request, None, None).refusal(error)


def strict(inner: ASGIApp) -> ASGIApp:
    """With the headers of STRICT on every answer that does not have its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def out(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in STRICT.items() if name not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await inner(scope, receive, out)

    return app
