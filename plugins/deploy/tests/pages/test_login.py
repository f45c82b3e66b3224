"""Who gets in, for how long, and with which forms."""

import pytest
from pages_html import parsed
from pages_world import SECRET, Visitor
from walle_deploy.server.pages.login import safe

PATHS = (
    "/",
    "/tasks",
    "/tasks/digits",
    "/releases/1",
    "/devices",
    "/devices/x",
    "/explain",
    "/audit",
    "/diff/digits",
)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_before_the_login(world, path):
    world.digits()
    answer = world.ask("GET", path)
    assert answer.status == 303
    assert answer.header("location").startswith("/login")
    assert world.ask("POST", path, {"csrf": "x"}).status in {303, 405}


def test_the_login_leads_where_one_wanted_to_go(world):
    world.digits()
    visitor = Visitor(world)
    answer = visitor.get("/devices?prefix=a%26b")
    assert answer.header("location") == "/login?next=%2Fdevices%3Fprefix%3Da%2526b"
    page = parsed(visitor.get(answer.header("location")))
    (field,) = [one for one in page.all("input") if one.get("name") == "next"]
    assert field["value"] == "/devices?prefix=a%26b"
    answer = visitor.post("/login", {"token": world.tokens["viewer"], "next": field["value"]})
    assert (answer.status, answer.header("location")) == (303, "/devices?prefix=a%26b")
    assert visitor.get(answer.header("location")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:x",
        "",
        "/a\nb",
        "/login",
    ],
)
def test_no_other_site_is_gone_to(path):
    assert safe(path) == "/"
    assert safe("/tasks?after=a") == "/tasks?after=a"


@pytest.mark.parametrize("token", ["", "x", "walle_" + "a" * 43, "<b>", "ü" * 49, "x" * 600])
def test_wrong_tokens(world, token):
    visitor = Visitor(world)
    answer = visitor.post("/login", {"token": token})
    assert answer.status == 401
    assert "unknown, expired or revoked" in parsed(answer).text
    assert visitor.get("/").status == 303


def test_enrolment_secrets_open_no_page(world):
    assert Visitor(world).post("/login", {"token": world.tokens["enrol"]}).status == 401


def test_one_address_cannot_go_on_guessing(world):
    visitor = Visitor(world)
    found = [visitor.post("/login", {"token": "x"}).status for _ in range(12)]
    assert found[:10] == [401] * 10 and found[10:] == [429, 429]
    assert visitor.post("/login", {"token": "x"}).header("retry-after").isdigit()
    assert visitor.post("/login", {"token": world.tokens["admin"]}).status == 303, "whoever is right gets in"


def test_cookies_are_kept_from_scripts_and_other_sites(world):
    answer = world.ask("GET", "/login")
    cookie = answer.header("set-cookie")
    assert cookie.startswith("walle_login=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


def test_over_tls_cookies_stay_with_tls(world):
    inner = world.app

    async def tls(scope, receive, send):
        await inner({**scope, "scheme": "https"}, receive, send)

    world.app = tls
    visitor = world.visitor()
    assert set(visitor.cookies) == {"__Host-walle_login", "__Host-walle_session"}
    assert "Secure" in world.ask("GET", "/login").header("set-cookie")
    assert visitor.get("/").status == 200


def test_the_cookie_does_not_tell_the_token(world):
    visitor = world.visitor()
    for cookie in visitor.cookies.values():
        assert world.tokens["admin"] not in cookie
        assert cookie not in visitor.get("/").text


def test_a_login_makes_another_session(world):
    visitor = Visitor(world)
    before = dict(visitor.cookies)
    visitor.post("/login", {"token": world.tokens["admin"]})
    assert visitor.cookies != before
    assert world.ask("GET", "/", None, before).status == 303


@pytest.mark.parametrize(
    "change", [lambda c: c[:-4] + "AAAA", lambda c: "", lambda c: "x" * 5000, lambda c: c[::-1]]
)
def test_forged_cookies_are_none(world, change):
    visitor = world.visitor()
    cookie = visitor.cookies["walle_session"]
    assert world.ask("GET", "/", None, {"walle_session": cookie}).status == 200
    assert world.ask("GET", "/", None, {"walle_session": change(cookie)}).status == 303
    assert world.ask("GET", "/", None, {"walle_session": visitor.cookies["walle_login"]}).status == 303


def test_sessions_end(world):
    visitor = world.visitor("operator")
    world.ahead = 11 * 3600
    assert visitor.get("/").status == 200
    world.ahead = 13 * 3600
    assert visitor.get("/").status == 303


def test_revoking_a_token_ends_its_sessions(world):
    visitor = world.visitor("operator")
    (number,) = [one.id for one in world.operators.lines() if one.role == "operator"]
    world.operators.revoke(number)
    assert visitor.get("/").status == 303


def test_logging_out(world):
    visitor = world.visitor()
    assert visitor.get("/logout").status == 405
    visitor.get("/")
    assert visitor.post("/logout", {}, csrf="x").status == 403
    assert visitor.get("/").status == 200
    assert visitor.post("/logout", {}).header("location") == "/login"
    assert visitor.get("/").status == 303


def test_a_login_form_that_is_too_old_can_be_sent_again(world):
    visitor = Visitor(world)
    world.ahead = 13 * 3600
    answer = visitor.post("/login", {"token": world.tokens["admin"]})
    assert answer.status == 403
    assert "open for too long" in parsed(answer).text
    assert visitor.post("/login", {"token": world.tokens["admin"]}).status == 303


def test_a_link_from_another_site_keeps_the_session(world):
    """Such a request has no cookie: it neither ends the session nor asks for a login, but is made again from here."""
    away = [(b"sec-fetch-site", b"cross-site")]
    answer = world.ask("GET", "/devices/a%3Fb%22?x=1&y=2", None, None, away)
    assert answer.status == 200 and answer.header("set-cookie") is None
    page = parsed(answer)
    (refresh,) = [one for one in page.all("meta") if one.get("http-equiv") == "refresh"]
    assert refresh["content"] == "0; url=/devices/a%3Fb%22?x=1&y=2"
    for path in ("//evil.example/x", "/\\evil.example"):
        assert "evil" not in world.ask("GET", path, None, None, away).text
    visitor = world.visitor()
    assert visitor.get("/login").header("location") == "/"
    before = visitor.cookies["walle_session"]
    answer = world.ask("GET", "/login")
    assert answer.header("set-cookie").startswith("walle_login=")
    assert visitor.cookies["walle_session"] == before and visitor.get("/").status == 200


def test_too_many_parameters(world):
    visitor = world.visitor()
    assert visitor.get("/devices?" + "&".join(f"p{number}=" for number in range(200))).status == 400


class Broken:
    def __init__(self, error):
        self.error = error

    def who(self, token):
        raise self.error


def test_a_database_that_is_away_is_told(world):
    from walle_deploy.server.pages.app import pages
    from walle_deploy.server.refusals import BusyError

    visitor = world.visitor()
    world.app = pages(world.platform, Broken(BusyError("the database is busy; try again")), secret=SECRET)
    answer = visitor.get("/devices")
    assert answer.status == 503
    assert "The database is busy" in parsed(answer).text and "try again" in answer.text.lower()
