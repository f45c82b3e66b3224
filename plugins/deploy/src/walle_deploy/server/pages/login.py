"""Logging in with an operator token, and out."""

from __future__ import annotations

import math

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages.asking import Page
from walle_deploy.server.pages.session import ENTRY, MAX_TOKEN, SESSION, cookie_name
from walle_deploy.server.pages.site import Site, Visit, is_secure


def safe(path: str) -> str:
    """A page of this site; the overview for anything that a browser may take for another site."""
    plain = path.isprintable() and path.startswith("/") and not path.startswith(("//", "/\\", "/login"))
    return path if plain and "\\" not in path else "/"


async def show(site: Site, request: Request) -> Response:
    """GET /login."""
    visit = await site.visit(request)
    then = safe(request.query_params.get("next", "/"))
    return _form(visit, then) if visit.operator is None else visit.go(then)


async def enter(site: Site, request: Request) -> Response:
    """POST /login."""
    visit = Visit(site, request, _entry(site, request), None)
    try:
        fields = await site.form(visit)
    except ApiError as error:
        if error.status != 403:
            return visit.refusal(error)
        return _form(visit, "/", "This page was open for too long. Please log in again.", status=403)
    then, token = safe(fields.get("next", "/")), fields.get("token", "").strip()
    fits = 0 < len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()
    if not fits or await run_in_threadpool(site.operator, token) is None:
        if not (wait := site.tries.wait(request.client.host if request.client else "")):
            text = "This token is unknown, expired or revoked, or may not see the pages."
            return _form(visit, then, text, status=401)
        text = f"Too many wrong tokens from your address. Try again in {math.ceil(wait)} seconds."
        made = _form(visit, then, text, status=429)
        made.headers["retry-after"] = str(math.ceil(wait))
        return made
    made = visit.go(then)
    _set(made, request, SESSION, site.sessions.issue(token), site.sessions.lifetime_s)
    return made


async def leave(site: Site, request: Request) -> Response:
    """POST /logout."""
    visit = await site.visit(request)
    try:
        await site.form(visit)
    except ApiError as error:
        return visit.refusal(error)
    made = visit.go("/login")
    _set(made, request, SESSION, "", 0)
    return made


def _entry(site: Site, request: Request) -> str | None:
    """The cookie of somebody who is about to log in, if it is one of ours."""
    cookie = request.cookies.get(cookie_name(ENTRY, is_secure(request)))
    return cookie if site.sessions.token(cookie) == "" else None


def _form(visit: Visit, then: str, trouble: str = "", status: int = 200) -> Response:
    site, request = visit.site, visit.request
    cookie = known = _entry(site, request)
    if cookie is None:  # that of a session stays: links of other sites come without it, and must not end it
        cookie = site.sessions.issue()
    shown = Visit(site, request, cookie, None)
    made = shown.page(Page("login.html", {"problem": trouble, "next": then}, status=status))
    if known is None:
        _set(made, request, ENTRY, cookie, site.sessions.lifetime_s)
    return made


def _set(response: Response, request: Request, name: str, cookie: str, seconds: int) -> None:
    tls = is_secure(request)
    response.set_cookie(
        cookie_name(name, tls),
        cookie,
        max_age=seconds,
        path="/",
        secure=tls,
        httponly=True,
        samesite="strict",
    )
