"""What all requests of the dashboard share, and whose request it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote

import attrs
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from walle_deploy.release.gates import GateRegistry
from walle_deploy.server.answers import ApiError, problem, read_body
from walle_deploy.server.auth import Operator, Tokens
from walle_deploy.server.hub import Hub
from walle_deploy.server.images import Images
from walle_deploy.server.limits import Buckets
from walle_deploy.server.pages import rendering
from walle_deploy.server.pages.asking import Costs, Page
from walle_deploy.server.pages.session import SESSION, Sessions, cookie_name
from walle_deploy.server.platform import Platform
from walle_deploy.store.files import FileStore

MAX_FORM = 512 << 10  # bytes
MAX_FIELDS = 100
TRIES = 10  # wrong tokens of one address at once; then one every TRY_S
TRY_S = 5.0
RIGHTS = ("operate", "approve", "admin")
SECTIONS = (
    ("/", "Overview"), ("/tasks", "Tasks"), ("/devices", "Devices"), ("/explain", "Explain"), ("/cloud", "Cloud"), ("/audit", "Audit"),
)  # fmt: skip
TITLES = {
    403: "Not allowed", 404: "Not found", 405: "Not possible", 409: "Not possible now", 413: "Too large", 429: "Too often",
    503: "Not possible now",
}  # fmt: skip


@attrs.define(eq=False)
class Site:
    """What all requests share.

    Attributes:
        platform: that is shown and changed.
        tokens: of operators.
        sessions: of those who have logged in.
        hub: that tells of changes.
        files: of the versions, for differences; None if this server cannot read them.
        images: that devices get; None: whether a version is published is not asked.
        gates: kinds that plans may have; this package's if None.
        costs: of samples that devices send to the cloud; None: nothing is known of a cloud.
        clock: seconds since 1970.
        tries: how often an address may log in.
    """

    platform: Platform
    tokens: Tokens
    sessions: Sessions
    hub: Hub
    files: FileStore | None
    images: Images | None
    gates: GateRegistry | None
    costs: Costs | None
    clock: Callable[[], float]
    tries: Buckets = attrs.field(factory=lambda: Buckets(1 / TRY_S, TRIES, places=1 << 12))

    async def visit(self, request: Request) -> Visit:
        """Whose request it is, as far as its cookie says."""
        cookie = request.cookies.get(cookie_name(SESSION, is_secure(request)))
        token = self.sessions.token(cookie)
        operator = await run_in_threadpool(self.operator, token) if token else None
        return Visit(self, request, cookie if operator is not None else None, operator)

    def operator(self, token: str) -> Operator | None:
        """Whose token it is, if they may see the pages."""
        found = self.tokens.who(token)
        return found if found is not None and found.may("read") else None

    async def form(self, visit: Visit) -> dict[str, str]:
        """The fields of a form that this session was given. Raises ApiError for any other."""
        body = await read_body(visit.request.scope, visit.request.receive, MAX_FORM)
        try:
            fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
        except ValueError as error:
            raise ApiError(400, "this is no form", "Send it from its page.") from error
        if not self.sessions.fits(visit.cookie, fields.pop("csrf", "")):
            raise ApiError(
                403,
                "the form does not belong to this session",
                "Open its page again, and send it from there.",
            )
        return fields


@attrs.frozen
class Visit:
    """A request, and whose it is.

    Attributes:
        site: that is visited.
        request: itself.
        cookie: that the page's forms belong to; None if they belong to none.
        operator: who has logged in; None if nobody has.
    """

    site: Site
    request: Request
    cookie: str | None
    operator: Operator | None

    @property
    def root(self) -> str:
        """Where the dashboard is mounted; "" for the server's root."""
        return str(self.request.scope.get("root_path", ""))

    @property
    def here(self) -> str:
        """What was asked for, below `root`."""
        path = quote(self.request.scope["path"].removeprefix(self.root), safe="/:@!$&'()*+,;=-._~")
        return f"{path}?{self.request.url.query}" if self.request.url.query else path

    def page(self, page: Page, section: str = "", done: str = "") -> HTMLResponse:
        """The page, rendered."""
        operator = self.operator
        shared: dict[str, Any] = {
            "root": self.root,
            "operator": operator,
            "may": {right: operator is not None and operator.may(right) for right in RIGHTS},
            "csrf_token": self.site.sessions.form_token(self.cookie) if self.cookie else "",
            "now": self.site.clock(),
            "live": page.live,
            "section": section,
            "sections": [each for each in SECTIONS if each[0] != "/cloud" or self.site.costs is not None],
            "done": done,
        }
        return HTMLResponse(rendering.render(page.template, {**shared, **page.values}), page.status)

    def go(self, path: str) -> RedirectResponse:
        """Another page of the dashboard, by GET."""
        return RedirectResponse(self.root + path, 303)

    def refusal(self, error: Exception) -> HTMLResponse:
        """A page that says what was wrong, and what to do."""
        status, body, headers = problem(error)
        if status >= 500 and not isinstance(error, ApiError):
            logging.getLogger(__name__).error("failure", exc_info=error)
        title = TITLES.get(status, "Something went wrong" if status >= 500 else "Not possible")
        values = {"title": title, "problem": sentence(body.error), "fix": sentence(body.fix)}
        made = self.page(Page("problem.html", values, status=status))
        for name, value in headers:
            made.headers[name.decode()] = value.decode()
        return made


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text[-1:] in {".", "?", "!", ""} else ".")


def is_secure(request: Request) -> bool:
    """Whether the browser came by TLS."""
    return request.url.scheme == "https"
