"""Every operation: who may, who may not, what is audited; and the way of a version from its files to a release."""

import base64
import hashlib
import time
from pathlib import Path

import pytest
from walle_deploy.manifest import File, Manifest
from walle_deploy.server.api import OPERATIONS
from walle_deploy.server.api.routing import PREFIX
from walle_deploy.server.auth import RIGHTS
from walle_deploy.server.testing import QUICK
from walle_deploy.task.sshsig import SigningKey

DATA = b"content of a file"
SHA = hashlib.sha256(DATA).hexdigest()
WHY = {"why": "because"}
EVERYONE = {"everyone": True}
WAITS = {"stages": [{"kind": "gray", "percent": 10, "gates": [{"kind": "approval"}]}, {"kind": "full"}]}


class Shop:
    """What each operation needs to succeed, made anew where it uses something up."""

    def __init__(self, world):
        self.world, self.count = world, 0

    def task(self, policy=EVERYONE):
        self.count += 1
        self.world.add_task(f"task-{self.count}", policy)
        return f"task-{self.count}"

    def version(self, number=1):
        """A task with a published version."""
        task = self.task()
        self.world.publish(task, number, {"main.py": DATA + task.encode()})
        return task

    def added(self):
        """A task with a version that is not published."""
        task = self.task()
        manifest = self.manifest(task)
        self.world.call(
            "POST", f"{PREFIX}/tasks/{task}/versions", self.world.version(manifest, 1), expect=201
        )
        return task

    def manifest(self, task, number=1):
        self.world.call("PUT", f"{PREFIX}/files/{SHA}", DATA)
        return Manifest.of(task, f"v{number}", [File("main.py", SHA, len(DATA))])

    def release(self, plan=WAITS):
        return self.world.release(self.version(), 1, plan)

    def paused(self):
        release = self.release()
        self.world.call("POST", f"{PREFIX}/releases/{release}/pause", WHY, expect=204)
        return release

    def simulating(self):
        return self.release({"stages": [{"kind": "simulation"}, *WAITS["stages"]]})

    def segment(self):
        self.count += 1
        name = f"segment-{self.count}"
        self.world.call("PUT", f"{PREFIX}/segments/{name}", {"policy": EVERYONE}, expect=204)
        return name

    def token(self):
        return self.world.call("POST", f"{PREFIX}/tokens", {"name": "x", "role": "viewer"}, expect=201).json[
            "id"
        ]

    def signature(self):
        task = self.added()
        proposal = self.world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json
        key = self.world.keys["targets"]
        made = key.private.sign(base64.b64decode(proposal["metadata"])).hex()
        return {"role": "targets", "keyid": key.public.tuf.keyid, "signature": made}

    def new_version(self):
        task = self.task()
        return {"task": task}, self.world.version(self.manifest(task), 1)

    def new_file(self):
        self.count += 1
        data = f"file {self.count}".encode()
        return {"sha256": hashlib.sha256(data).hexdigest()}, data

    def device(self):
        from walle_deploy.profile import Profile

        assert self.world.check(Profile("phone-1", {"os": "ios"})).status in {200, 204}
        end = time.monotonic() + 5  # profiles are written together, a little later
        while self.world.call("GET", f"{PREFIX}/devices/phone-1").status != 200 and time.monotonic() < end:
            time.sleep(0.01)
        return "phone-1"

    def delta(self):
        (place, data) = self.new_file()
        self.world.call("PUT", f"{PREFIX}/files/{place['sha256']}", data, expect=201)
        return [{"codec": "bsdiff", "base": "1" * 64, "sha256": place["sha256"], "size": len(data)}]


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


def _bump(self):
    self.count += 1
    return self.count


def _signed(self):
    self.world.call("POST", f"{PREFIX}/images/sign", self.signature(), expect=200)
    return {}


def _there(self):
    self.manifest("any")
    return SHA


Shop.bump, Shop.signed, Shop.there = _bump, _signed, _there


@pytest.fixture(scope="module")
def shop(world):
    world.app._rest  # noqa: B018 - it is started
    return Shop(world)


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch):
    """A matrix of roles asks more often than anybody may."""
    from walle_deploy.server.limits import Buckets

    monkeypatch.setattr(Buckets, "wait", lambda self, key: 0.0)


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


def test_a_version_is_taken_only_with_a_tag_that_an_allowed_key_has_signed(world, shop):
    task = shop.task()
    manifest = shop.manifest(task)
    right = world.version(manifest, 1)
    stranger = SigningKey.generate()
    mine, world.signer = world.signer, stranger
    foreign = world.version(manifest, 1)
    world.signer = mine
    other = world.version(shop.manifest(shop.task()), 1)
    unsigned = base64.b64encode(base64.b64decode(right["tag_object"]).partition(b"-----BEGIN")[0]).decode()
    for change, status in [
        ({"tag_object": foreign["tag_object"]}, 409),
        ({"tag_object": other["tag_object"]}, 409),
        ({"tag_object": unsigned}, 409),
        ({"tag_object": ""}, 409),
        ({"tag_object": "!"}, 400),
        ({"commit": "0" * 40}, 409),
        ({"message": "another"}, 409),
        ({"number": 2}, 409),
        ({"manifest": ""}, 400),
        ({"manifest": other["manifest"]}, 400),
        ({"manifest": base64.b64encode(b'{"format": "walle-manifest-1"}').decode()}, 400),
    ]:
        got = world.call("POST", f"{PREFIX}/tasks/{task}/versions", {**right, **change})
        assert got.status == status, (change, got.body)
    assert world.call("GET", f"{PREFIX}/tasks/{task}").json["versions"] == []
    world.call("POST", f"{PREFIX}/tasks/{task}/versions", right, expect=201)
    world.call("POST", f"{PREFIX}/tasks/{task}/versions", right, expect=201)  # equal ones may come again


def test_a_version_whose_files_are_not_here_is_refused(world, shop):
    task = shop.task()
    for file in [File("main.py", "ab" * 32, 5), File("main.py", shop.there(), len(DATA) + 1)]:
        body = world.version(Manifest.of(task, "v1", [file]), 1)
        got = world.call("POST", f"{PREFIX}/tasks/{task}/versions", body)
        assert got.status == 409
        assert "main.py" in got.json["error"]
        assert file.sha256 in got.json["fix"]


def test_exclusive_files_are_looked_for_where_their_one_device_finds_them(world, shop):
    data = b"for one device"
    sha256 = hashlib.sha256(data).hexdigest()
    task = shop.task({"devices": ["phone-7"]})
    body = world.version(Manifest.of(task, "v1", [File("main.py", sha256, len(data), exclusive=True)]), 1)
    path = f"{PREFIX}/tasks/{task}/versions"
    world.call("PUT", f"{PREFIX}/files/{sha256}", data)
    assert world.call("POST", path, body).status == 409
    world.call("PUT", f"{PREFIX}/files/{sha256}?device=phone-7", data, expect=201)
    world.call("POST", path, body, expect=201)
    assert world.call("HEAD", f"{PREFIX}/files/{sha256}?device=phone-8").status == 404
    everyone = shop.task()
    body = world.version(Manifest.of(everyone, "v1", [File("main.py", sha256, len(data), exclusive=True)]), 1)
    assert world.call("POST", f"{PREFIX}/tasks/{everyone}/versions", body).status == 409


def test_a_version_is_released_only_when_devices_can_find_it(world, shop):
    task = shop.added()
    path = f"{PREFIX}/tasks/{task}/releases"
    got = world.call("POST", path, {"version": 1, "plan": QUICK})
    assert got.status == 409
    assert "/stage" in got.json["fix"]
    world.sign(world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json)
    assert world.call("POST", f"{PREFIX}/images/{task}/1/stage").status == 204
    assert world.call("GET", f"{PREFIX}/tasks/{task}").json["versions"][0]["published"]
    world.call("POST", path, {"version": 1, "plan": QUICK}, expect=201)
    assert world.call("POST", path, {"version": 2, "plan": QUICK}).status == 404


def test_a_revoked_image_is_never_released(world, shop):
    task = shop.version()
    world.sign(world.call("POST", f"{PREFIX}/images/{task}/1/revoke", WHY, expect=200).json)
    got = world.call("POST", f"{PREFIX}/tasks/{task}/releases", {"version": 1, "plan": QUICK})
    assert got.status == 409
    assert "because" in got.json["error"]
    assert world.call("POST", f"{PREFIX}/images/{task}/1/stage").status == 409


def test_nothing_is_published_without_the_signatures_that_it_needs(world, shop):
    task = shop.added()
    proposal = world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json
    got = world.call("POST", f"{PREFIX}/images/publish")
    assert got.status == 409
    assert "0 of the 1 keys" in got.json["error"]
    key = world.keys["targets"].public.tuf.keyid
    forged = world.keys["root"].private.sign(base64.b64decode(proposal["metadata"])).hex()
    for body, status in [
        ({"role": "targets", "keyid": key, "signature": forged}, 409),
        ({"role": "root", "keyid": key, "signature": forged}, 409),
        ({"role": "../root", "keyid": key, "signature": forged}, 400),
        ({"role": "targets", "keyid": "x", "signature": forged}, 400),
        ({"role": "targets", "keyid": key, "signature": "zz"}, 400),
        ({"role": "targets", "keyid": key, "signature": "00"}, 409),
    ]:
        assert world.call("POST", f"{PREFIX}/images/sign", body).status == status, body
    assert world.call("GET", f"{PREFIX}/images").json["staged"] == {"targets": "0 of 1"}
    world.sign(proposal)


def test_an_upload_is_kept_only_if_it_is_what_its_digest_says(world, shop):
    place, data = shop.new_file()
    path = f"{PREFIX}/files/{place['sha256']}"
    for body in (data + b"x", b"", data[:-1]):
        got = world.call("PUT", path, body)
        assert got.status == 400
        assert "nothing was kept" in got.json["fix"]
        assert world.call("HEAD", path).status == 404
    assert world.call("PUT", path, pieces=[data[:3], data[3:]]).status == 201
    assert world.call("PUT", path, data).status == 200
    assert world.call("HEAD", path).headers["content-length"] == str(len(data))
    assert not list(world.settings.path("uploads").iterdir())


def test_an_upload_that_breaks_off_leaves_nothing(world, shop):
    place, data = shop.new_file()
    path = f"{PREFIX}/files/{place['sha256']}"
    with pytest.raises(AttributeError):  # nobody is there to be answered
        world.call("PUT", path, pieces=[data, None])
    assert world.call("HEAD", path).status == 404
    assert not list(world.settings.path("uploads").iterdir())


def test_a_large_upload_is_in_memory_in_parts_only(world):
    import tracemalloc

    piece = b"x" * (1 << 18)
    digest = hashlib.sha256(piece * 256).hexdigest()
    pieces = [piece] * 256
    tracemalloc.start()
    assert world.call("PUT", f"{PREFIX}/files/{digest}", pieces=pieces).status == 201
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_an_upload_that_says_it_is_too_large_is_refused_before_it_comes(world):
    got = world.call("PUT", f"{PREFIX}/files/{SHA}", b"", headers={"content-length": str(5 << 30)})
    assert got.status == 413


def test_a_full_disk_is_told(world, shop, monkeypatch):
    import tempfile

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    place, data = shop.new_file()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    got = world.call("PUT", f"{PREFIX}/files/{place['sha256']}", data)
    assert (got.status, got.json["error"]) == (507, "the file cannot be kept: No space left on device")


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
