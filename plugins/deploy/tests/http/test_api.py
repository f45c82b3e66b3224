"""Every operation: who may, who may not, what is audited; and what no operation takes."""

from pathlib import Path

import pytest
from api_shop import EVERYONE, SHA, WHY
from walle_deploy.server.api import OPERATIONS
from walle_deploy.server.api.routing import PREFIX
from walle_deploy.server.auth import RIGHTS
from walle_deploy.server.testing import QUICK

pytestmark = pytest.mark.usefixtures("no_limits")


# name of the operation -> (places, body, query), each made for one request; and what is changed, as the audit says it
def _one(places=lambda s: {}, body=lambda s: None, query="", what=None):
    return lambda shop: (places(shop), body(shop), query), what


CASES = {
    "tasks": _one(),
    "add_task": _one(body=lambda s: {"name": "made-by-" + str(s.bump()), "policy": EVERYONE}, what="task/"),
    "task": _one(lambda s: {"task": s.version()}),
    "set_policy": _one(
        lambda s: {"task": s.task()}, lambda s: {"policy": {"device": {"os": "ios"}}}, what="task/"
    ),
    "retire": _one(lambda s: {"task": s.task()}, what="task/"),
    "add_version": (lambda s: (*s.new_version(), ""), "version/"),
    "revoke": _one(lambda s: {"task": s.version(), "number": 1}, lambda s: WHY, what="version/"),
    "segments": _one(),
    "segment": _one(lambda s: {"segment": s.segment()}),
    "set_segment": _one(
        lambda s: {"segment": f"new-{s.bump()}"}, lambda s: {"policy": EVERYONE}, what="segment/"
    ),
    "delete_segment": _one(lambda s: {"segment": s.segment()}, what="segment/"),
    "create_release": _one(
        lambda s: {"task": s.version()}, lambda s: {"version": 1, "plan": QUICK}, what="release/"
    ),
    "releases": _one(),
    "release": _one(lambda s: {"release": s.release()}),
    "curve": _one(lambda s: {"release": s.release()}),
    "simulated": _one(lambda s: {"release": s.simulating()}, lambda s: {"passed": True}, what="release/"),
    "approve": _one(lambda s: {"release": s.release()}, lambda s: WHY, what="release/"),
    "pause": _one(lambda s: {"release": s.release()}, lambda s: WHY, what="release/"),
    "resume": _one(lambda s: {"release": s.paused()}, lambda s: WHY, what="release/"),
    "rollback": _one(lambda s: {"release": s.release()}, lambda s: WHY, what="release/"),
    "devices": _one(),
    "device": _one(lambda s: {"device": s.device()}),
    "explain": (lambda s: ({}, None, f"?device=phone-1&task={s.task()}"), None),
    "counts": _one(),
    "audit": _one(),
    "tokens": _one(),
    "add_token": _one(body=lambda s: {"name": "bob", "role": "viewer", "days": 1}, what="token/bob"),
    "revoke_token": _one(lambda s: {"token": s.token()}, what="token/"),
    "images": _one(),
    "stage": _one(lambda s: {"task": s.added(), "number": 1}, what="version/"),
    "revoke_image": _one(lambda s: {"task": s.version(), "number": 1}, lambda s: WHY, what="version/"),
    "renew": _one(lambda s: {"role": "targets"}, what="image/targets"),
    "sign": _one(body=lambda s: s.signature(), what="image/targets"),
    "publish": (lambda s: (s.signed(), None, ""), "image/targets"),
    "has_file": _one(lambda s: {"sha256": s.there()}),
    "put_file": (lambda s: (*s.new_file(), ""), "file/"),
    "deltas": _one(lambda s: {"sha256": SHA}),
    "put_deltas": _one(lambda s: {"sha256": SHA}, lambda s: s.delta(), what="file/"),
    "events": None,
}


def url(operation, places, query):
    return PREFIX + operation.path.format(**places) + query


def test_every_operation_has_a_case():
    assert {operation.name for operation in OPERATIONS} == set(CASES)
    assert len({(o.method, o.path) for o in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if CASES[o.name]], ids=lambda o: o.name)
def test_an_operation_is_for_its_roles_only_and_changes_are_audited(world, shop, operation):
    make, what = CASES[operation.name]
    places, body, query = make(shop)
    path = url(operation, places, query)
    newest = world.call("GET", f"{PREFIX}/audit?limit=1").json
    before = newest[0]["id"] if newest else 0
    for role, rights in RIGHTS.items():
        if operation.right not in rights:
            token = {"authorization": f"Bearer {world.enrol if role == 'enrol' else world.tokens[role]}"}
            got = world.call(operation.method, path, body, role=None, headers=token)
            assert got.status == 403, (role, got.body)
    got = world.call(operation.method, path, body, role=None)
    assert got.status == 401
    assert not world.call("GET", f"{PREFIX}/audit?limit=1").json[:1] or (
        world.call("GET", f"{PREFIX}/audit?limit=1").json[0]["id"] == before
    )
    allowed = [role for role, rights in RIGHTS.items() if operation.right in rights]
    for role in allowed:
        got = world.call(operation.method, url(operation, places, query), body, role=role)
        assert got.status in {operation.status, 204}, (role, got.status, got.body)
        lines = world.call("GET", f"{PREFIX}/audit?limit=1000").json
        fresh = [line for line in lines if line["id"] > before and line["who"] == role]
        if what is None:
            assert not fresh
        else:
            assert any(line["what"].startswith(what) for line in fresh), fresh
        if what is not None or operation.name == "create_release":
            places, body, query = make(shop)  # what was changed cannot be changed so again
        newest = world.call("GET", f"{PREFIX}/audit?limit=1").json
        before = newest[0]["id"] if newest else 0


def test_a_right_without_a_method_or_a_place_is_a_json_error(world):
    for method, path, status in [
        ("PUT", "/tasks", 405), ("POST", "/nothing", 404), ("GET", "/tasks/x/y/z", 404), ("GET", "/releases/0", 400),
        ("GET", "/releases/x", 400), ("GET", "/releases/99999", 404), ("GET", "/tasks/none", 404), ("GET", "/tasks/A%20B", 400),
        ("GET", "/devices/none", 404), ("GET", "/segments/none", 404), ("HEAD", "/files/" + "0" * 64, 404),
        ("GET", "/files/" + "0" * 64, 405), ("PUT", "/files/xyz", 400), ("DELETE", "/tokens/9999", 404), ("GET", "", 404),
        ("GET", "/explain?device=a&task=none", 404), ("GET", "/explain?device=a", 400), ("GET", "/tasks?x=1", 400),
        ("GET", "/tasks?limit=0", 400), ("GET", "/tasks?limit=1&limit=2", 400), ("GET", "/audit?before=-1", 400),
        ("GET", "/audit?text=%ff", 400), ("POST", "/images/none/1/stage", 404), ("GET", "/releases/1%00", 400),
        ("GET", "/tasks/..%2f..%2fsecret", 404), ("GET", "/releases?task=%27%20or%201%3D1", 400),
    ]:  # fmt: skip
        got = world.call(method, PREFIX + path)
        assert got.status == status, (method, path, got.body)
        if method != "HEAD":
            assert got.headers["content-type"] == "application/json", path
            assert set(got.json) == {"error", "fix"}, path


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415), ("", b"{}", 415), ("application/x-www-form-urlencoded", b"name=x", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415), ("application/json", b"", 400), ("application/json", b"{", 400),
        ("application/json", b"[]", 400), ("application/json", b"null", 400), ("application/json", b'{"name": "x"}', 400),
        ("application/json", b"[" * 100_000, 400), ("application/json", b'{"a":' * 100_000, 400),
        ("application/json", b'{"name":"x","policy":' + b'{"all":[' * 5000 + b'{"everyone":true}' + b"]}" * 5000 + b"}", 400),
        ("application/json", b'{"name":"x","policy":' + b'{"not":' * 300 + b'{"everyone":true}' + b"}" * 300 + b"}", 400),
        ("application/json", b'{"name":"x","policy":{"everyone":true},"more":1}', 400), ("application/json", b"\xff\xfe{}", 400),
        ("application/json", b'{"name":"\\ud800","policy":{}}', 400), ("application/json", b'{"name":"x","policy":{"device":{"a":1e999}}}', 400),
        ("application/json", b'{"name":"x","policy":{"device":{"a":NaN}}}', 400),
        ("application/json", b'{"name":"x","policy":"' + b"x" * (2 << 20) + b'"}', 413),
        ("application/json; charset=utf-8", b'{"name":"A B","policy":{}}', 400), ("application/json", b'{"name":"../x","policy":{}}', 400),
        ("application/json", b'{"name":"x\\n","policy":{}}', 400), ("application/json", b'{"name":"x","policy":{"nonsense":1}}', 400),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_used_are_refused(world, kind, body, status):
    got = world.call("POST", f"{PREFIX}/tasks", body, headers={"content-type": kind})
    assert got.status == status, got.body
    assert set(got.json) == {"error", "fix"}
    assert len(got.body) < 5000


HOSTILE = [
    "'; DROP TABLE tasks; --", '<script>alert("1")</script>', "\0", "\u202e", "😀" * 100, "a\nb\r\nSet-Cookie: x=1", "%s%n{0}${x}",
    "\\", "x" * 1999,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back_as_it_was_or_is_refused(world, shop, text):
    release = shop.release()
    got = world.call("POST", f"{PREFIX}/releases/{release}/rollback", {"why": text})
    if got.status == 400:
        return
    assert got.status == 204
    assert text[:200] in world.call("GET", f"{PREFIX}/releases/{release}").json["standing"]["line"]
    assert world.call("POST", f"{PREFIX}/tokens", {"name": text, "role": "viewer"}).status in {201, 400}
    got = world.call("PUT", f"{PREFIX}/segments/mine", {"policy": {"user": {"name": text}}})
    assert got.status in {204, 400}
    world.call("GET", f"{PREFIX}/tasks", expect=200)


def test_what_failed_in_the_server_is_not_told(world, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(world.platform, "tasks", broken)
    got = world.call("GET", f"{PREFIX}/tasks")
    assert (got.status, got.json["error"]) == (500, "the server failed")


def test_events_tell_what_changes(world, shop, monkeypatch):
    import asyncio

    import msgspec
    from walle_deploy.server import hub

    monkeypatch.setattr(hub, "EVERY_S", 0.02)
    release = shop.release()
    sent = []

    async def listen():
        paused, gone = asyncio.Event(), asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if len(sent) == 2:
                paused.set()
            if b"paused" in message.get("body", b""):
                gone.set()

        scope = {
            "type": "http", "method": "GET", "path": f"{PREFIX}/events", "raw_path": b"", "query_string": b"", "root_path": "",
            "headers": [(b"authorization", f"Bearer {world.tokens['viewer']}".encode())], "client": ("1.1.1.1", 1),
        }  # fmt: skip
        task = asyncio.create_task(world.app(scope, receive, send))
        await paused.wait()
        await asyncio.sleep(0.1)
        await asyncio.to_thread(world.platform.pause, release, "me", "for a test")
        await asyncio.wait_for(task, 10)

    world.runner.run(listen())
    assert sent[0]["status"] == 200
    assert (b"content-type", b"text/event-stream") in sent[0]["headers"]
    lines = [m["body"][6:] for m in sent if m.get("body", b"").startswith(b"data: ")]
    told = [msgspec.json.decode(line) for line in lines]
    assert {"release", "task", "status", "line"} <= set(told[-1])
    assert (told[-1]["release"], told[-1]["status"]) == (release, "paused")


def test_the_description_names_every_operation_and_every_type(world):
    got = world.call("GET", f"{PREFIX}/openapi.json", role=None, expect=200).json
    named = {(method.upper(), path) for path, methods in got["paths"].items() for method in methods}
    assert named == {(o.method, PREFIX + o.path) for o in OPERATIONS}
    text = str(got)
    for name in [part.split("'")[0] for part in text.split("#/components/schemas/")[1:]]:
        assert name in got["components"]["schemas"]


def test_the_documentation_names_every_operation_and_its_right():
    page = Path(__file__).resolve().parents[4] / "docs" / "deploy-server.md"
    text = page.read_text("utf-8").partition("<!-- operations:")[2].partition("<!-- end of operations -->")[0]
    assert [line for line in text.splitlines() if line.startswith("| `")] == [
        f"| `{operation.method} {operation.path}` | {operation.right} |" for operation in OPERATIONS
    ]
