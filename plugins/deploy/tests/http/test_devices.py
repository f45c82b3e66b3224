"""What devices ask and tell: checks, reports, registration, and everything that somebody else sends in their name."""

import json
from base64 import urlsafe_b64encode

import msgspec
import pytest
from http_world import ask
from walle_deploy.profile import Profile
from walle_deploy.server.auth import device_token
from walle_deploy.server.devices import AT_ONCE
from walle_deploy.trust.answer import Director, open_answer

PHONE = {"os": "android", "os_version": "14"}


def phone(number, **installed):
    return Profile(f"phone-{number}", PHONE, {}, installed)


@pytest.fixture(scope="module")
def released(world):
    """A task whose version everybody gets."""
    world.add_task("rank")
    manifest = world.publish("rank", 1, {"main.py": b"print('v1')"})
    world.release("rank", 1)
    world.settle()
    return manifest


def opened(world, body):
    return open_answer(body, Director((world.keys["director"].public,)))


def test_a_check_brings_a_signed_answer_once_there_is_something_new(world, released):
    got = world.check(phone(1))
    assert got.status == 200
    assert got.headers["content-type"] == "application/vnd.walle.answer"
    answer = opened(world, got.body)
    assert answer.device == "phone-1"
    assert [(t.name, t.version, t.manifest.hex()) for t in answer.tasks] == [("rank", 1, released.digest)]
    assert answer.tasks[0].base == "https://files.example/walle"
    assert answer.expires - answer.issued == 7 * 86_400


def test_a_nonce_comes_back(world, released):
    nonce = b"n" * 32
    got = world.check(phone(2), **{"walle-nonce": urlsafe_b64encode(nonce).decode().rstrip("=")})
    assert opened(world, got.body).nonce == nonce


@pytest.mark.parametrize("nonce", ["", "a", "+/+/", "a" * 44, "aaaa=", "ää", "a\tb", "a" * 5])
def test_a_nonce_that_is_none_is_refused(world, nonce):
    assert world.check(phone(3), **{"walle-nonce": nonce}).status == 400


def test_nothing_new_is_204_without_a_byte(world, released):
    has = phone(4, rank="v1")
    first = world.check(has)
    assert (first.status, first.body, first.headers) == (204, b"", {})
    quiet = world.call("GET", "/walle/check", role=None, headers={"walle-profile": has.header()})
    assert (quiet.status, quiet.body, quiet.headers) == (204, b"", {})


def test_an_unknown_digest_is_asked_for_its_profile(world):
    got = world.call("GET", "/walle/check", role=None, headers={"walle-profile": phone(5, x="v9").header()})
    assert (got.status, got.body) == (428, b"")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "short",
        "x" * 12,
        "++++++++++/",
        "äääääääääää",
        "a" * 10 + "=",
        "a" * 10 + "\n",
        "A" * 9999,
        "' or 1=1;--",
    ],
)
def test_a_digest_that_is_none_is_refused(world, header):
    got = world.call(
        "GET", "/walle/check", role=None, headers={} if header is None else {"walle-profile": header}
    )
    assert got.status == 400
    assert set(got.json) == {"error", "fix"}


def other_token(world):
    return device_token(world.services.secret, "phone-99")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a" * 22,
        other_token,
        lambda w: device_token(b"o" * 32, "phone-6"),
        lambda w: w.tokens["admin"],
        "ä" * 22,
    ],
)
def test_forged_and_foreign_tokens_are_refused(world, token):
    given = token if isinstance(token, str) else token(world)
    for _ in range(2):
        got = world.check(phone(6), given)
        assert got.status == 401
        assert "token" in got.json["error"]
    assert world.report("phone-6", [1, "rank", "v1", False, {}, ""], token=given).status == 401


def test_a_scheme_that_is_not_bearer_is_no_token(world):
    token = device_token(world.services.secret, "phone-7")
    for value in (token, f"Basic {token}", f"Bearer{token}", f"Bearer  {token} x"):
        got = world.call(
            "POST", "/walle/check", phone(7).canonical, role=None, headers={"authorization": value}
        )
        assert got.status == 401, value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"\xc1", b"{}", b"\x94\xa1a\x80\x80", b"\x94\xa1a\x80\x80\x80\x00", b"\x94\xa0\x80\x80\x80",
        b"\x91" * 60_000, b"\x94" + b"\x91" * 10_000, b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x94\xa1\xff\x80\x80\x80",
        msgspec.msgpack.encode(["a b", {}, {}, {}]), msgspec.msgpack.encode(["x" * 200, {}, {}, {}]),
        msgspec.msgpack.encode(["a", {"x": float("nan")}, {}, {}]), msgspec.msgpack.encode(["a", {"x": {"y": 1}}, {}, {}]),
        msgspec.msgpack.encode(["a", {}, {}, {"t": 5}]), msgspec.msgpack.encode(["a", {str(n): 1 for n in range(300)}, {}, {}]),
    ],
)  # fmt: skip
def test_a_profile_that_is_none_is_refused(world, body):
    headers = {"authorization": f"Bearer {device_token(world.services.secret, 'a')}"}
    got = world.call("POST", "/walle/check", body, role=None, headers=headers)
    assert got.status in {400, 401}
    assert set(got.json) == {"error", "fix"}


def test_a_profile_that_is_not_canonical_is_refused(world):
    body = msgspec.msgpack.encode(["phone-8", {"b": 1, "a": 2}, {}, {}])
    headers = {"authorization": f"Bearer {device_token(world.services.secret, 'phone-8')}"}
    got = world.call("POST", "/walle/check", body, role=None, headers=headers)
    assert got.status == 400
    assert "canonical" in got.json["error"]


@pytest.mark.parametrize("pieces", [[b"x" * 40_000, b"x" * 40_000], [b"x" * 70_000], [b"x"] * 70_000])
def test_a_body_that_is_too_large_is_refused(world, pieces):
    for path in ("/walle/check", "/walle/register"):
        assert world.call("POST", path, role=None, pieces=list(pieces)).status == 413
    got = world.call("POST", "/walle/check", b"x", role=None, headers={"content-length": "99999999"})
    assert got.status == 413
    got = world.call("POST", "/walle/check", b"x", role=None, headers={"content-length": "-1"})
    assert got.status == 413


def test_a_client_that_goes_away_is_no_error(world):
    async def gone():
        headers = [(b"authorization", b"Bearer x"), (b"walle-id", b"phone-1")]
        return [
            await ask(world.app, "POST", path, headers=headers, pieces=[b"x", None])
            for path in ("/walle/check", "/walle/register", "/api/v1/tasks")
        ]

    assert [None if got is None else got.status for got in world.runner.run(gone())] == [None, None, 401]


def test_other_methods_are_refused(world):
    for path in ("/walle/check", "/walle/reports", "/walle/register", "/healthz", "/metrics"):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert world.call(method, path, role=None).status == 405


def test_a_million_checks_of_one_device_are_limited_in_memory_that_stays(world, released):
    device = phone(20)
    headers = [(b"authorization", b"Bearer " + device_token(world.services.secret, device.id).encode())]
    before = world.app._devices._checks._due.buffer_info()[1]

    async def many():
        found = {}
        for _ in range(3000):
            got = await ask(world.app, "POST", "/walle/check", device.canonical, headers)
            found.setdefault(got.status, []).append(got)
        return found

    found = world.runner.run(many())
    assert set(found) == {200, 429}
    assert AT_ONCE <= len(found[200]) <= AT_ONCE + 10
    assert int(found[429][0].headers["retry-after"]) >= 1
    assert world.app._devices._checks._due.buffer_info()[1] == before
    assert world.check(phone(21)).status == 200  # another device is not touched by it


def test_wrong_tokens_of_one_address_are_all_told_so(world):
    """Behind one proxy are many devices, and each must learn that it has to register anew."""

    async def many():
        return {
            (await ask(world.app, "POST", "/walle/check", phone(30).canonical, [])).status for _ in range(100)
        }

    assert world.runner.run(many()) == {401}
    assert world.check(phone(31)).status in {200, 204}


def test_wrong_tokens_of_operators_are_limited_by_address_and_right_ones_are_not(world):
    wrong = {"authorization": "Bearer walle_" + "x" * 43}
    found = [world.call("GET", "/api/v1/tasks", role=None, headers=wrong).status for _ in range(60)]
    assert set(found) == {401, 429}
    assert world.call("GET", "/api/v1/tasks").status == 200


def test_a_report_is_in_the_release_once_it_is_acknowledged(world, released):
    release = world.call("GET", "/api/v1/releases?task=rank").json[0]["id"]
    heard = world.call("GET", f"/api/v1/releases/{release}").json["heard"]
    assert (
        world.report("phone-40", [1, "rank", "v1", True, {"ms": 3.5}, "ValueError: <b>x</b>"]).status == 204
    )
    shown = world.call("GET", f"/api/v1/releases/{release}").json
    assert shown["heard"] == heard + 1
    assert "ValueError: <b>x</b>" in [line["why"] for line in shown["failures"]]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x90", b"\x91" * 60_000, b"\xc0", msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode([[1]]),
        msgspec.msgpack.encode([[-1, "rank", "v1", False, {}, ""]]), msgspec.msgpack.encode([[1, "rank", "1", False, {}, ""]]),
        msgspec.msgpack.encode([[1, "rank", "v0", False, {}, ""]]), msgspec.msgpack.encode([[1, "rank", "v1", 1, {}, ""]]),
        msgspec.msgpack.encode([[1, "rank", "v1", False, {"a": "b"}, ""]]), msgspec.msgpack.encode([[1, "", "v1", False, {}, ""]]),
        msgspec.msgpack.encode([[1, "rank", "v1", False, {}, "x" * 5000]]), msgspec.msgpack.encode([[1, "r", "v1", False, {}, "", 1]]),
        msgspec.msgpack.encode([[n, "rank", "v1", False, {}, ""] for n in range(257)]),
        msgspec.msgpack.encode([[2**63, "rank", "v1", False, {}, ""]]),
    ],
)  # fmt: skip
def test_reports_that_are_none_are_refused_and_nothing_of_them_is_kept(world, released, body):
    device = f"phone-5{abs(hash(body)) % 1000}"
    headers = {"authorization": f"Bearer {device_token(world.services.secret, device)}", "walle-id": device}
    got = world.call("POST", "/walle/reports", body, role=None, headers=headers)
    assert got.status == 400, got.body
    assert "reports" in got.json["error"]


def test_reports_of_tasks_and_versions_that_are_not_there_do_no_harm(world, released):
    strange = [
        [1, "nothing", "v1", False, {}, ""],
        [2, "rank", "v4294967295", True, {}, "x"],
        [3, "rank", None, False, {}, ""],
    ]
    assert world.report("phone-60", *strange).status == 204
    assert world.report(
        "phone-60", [4, "'; DROP TABLE releases;--", "v1", False, {"<b>": float("nan")}, "\0"]
    ).status in {204, 400}
    assert world.call("GET", "/api/v1/tasks/rank").status == 200


def test_a_device_registers_with_an_enrolment_secret_only(world):
    assert world.register("phone-70") == device_token(world.services.secret, "phone-70")
    for enrol in ("", "x", world.tokens["admin"], world.enrol[:-1]):
        got = world.call("POST", "/walle/register", {"id": "phone-70", "enrol": enrol}, role=None)
        assert got.status in {400, 401, 429}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", {"id": "a"}, {"id": "", "enrol": "x"}, {"id": "a b", "enrol": "x"}, {"id": "a\n", "enrol": "x"},
        {"id": "ä", "enrol": "x"}, {"id": "x" * 129, "enrol": "x"}, {"id": 1, "enrol": "x"}, {"id": "a", "enrol": "x", "more": 1},
        b"[" * 4000, b'{"id":"\xff","enrol":"x"}', b'{"id":"\\ud800","enrol":"x"}', {"id": "a", "enrol": "x" * 300},
    ],
)  # fmt: skip
def test_a_registration_that_is_none_is_refused(world, body):
    got = world.call("POST", "/walle/register", body, role=None)
    assert got.status == 400
    assert set(got.json) == {"error", "fix"}


def test_an_enrolment_secret_can_be_revoked(world):
    made = world.call("POST", "/api/v1/tokens", {"name": "one shop", "role": "enrol"}, expect=201).json
    asked = {"id": "phone-80", "enrol": made["token"]}
    assert world.call("POST", "/walle/register", asked, role=None).status == 200
    world.call("DELETE", f"/api/v1/tokens/{made['id']}", expect=204)
    assert world.call("POST", "/walle/register", asked, role=None).status in {401, 429}


def test_health_and_metrics_say_how_it_goes(world, released):
    assert world.call("GET", "/healthz", role=None).body == b"ok\n"
    text = world.call("GET", "/metrics", role=None, expect=200).body.decode()
    for name in (
        'walle_deploy_checks_total{kind="profile",result="answer"}', 'walle_deploy_checks_total{kind="digest",result="ask"}',
        'walle_deploy_reports_total{result="taken"}', 'walle_deploy_registrations_total{result="done"}', "walle_deploy_devices ",
        'walle_deploy_releases{status="', 'walle_deploy_image_seconds_left{role="timestamp"}',
        'walle_deploy_request_seconds_bucket{kind="profile",le="+Inf"}',
    ):  # fmt: skip
        assert name in text, name


def test_a_worker_that_does_not_know_what_it_may_offer_says_so(world, monkeypatch):
    monkeypatch.setattr(world.platform, "health", lambda: "the database is away")
    got = world.call("GET", "/healthz", role=None)
    assert (got.status, got.json["error"]) == (503, "the database is away")


def test_a_failure_of_the_server_is_told_without_its_reasons(world, monkeypatch, caplog):
    def broken(*args):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(world.platform, "prepare_check", broken)
    got = world.check(phone(90))
    assert (got.status, got.json["error"]) == (500, "the server failed")
    assert "secret" not in got.body.decode()


def test_no_token_and_no_secret_is_ever_logged(world, caplog):
    caplog.set_level("DEBUG")
    token = device_token(world.services.secret, "phone-91")
    world.check(phone(91), "forged-token-forged-to")
    world.check(phone(92), token)
    world.call("POST", "/walle/register", {"id": "a b", "enrol": world.enrol}, role=None)
    world.call("GET", f"/api/v1/nothing?token={world.tokens['admin']}", role="viewer")
    world.call("POST", "/api/v1/tokens", {"name": "x", "role": "viewer"}, expect=201)
    text = json.dumps([{**vars(record), "exc_info": None} for record in caplog.records], default=str)
    for secret in (token, "forged-token", world.enrol, *world.tokens.values(), world.services.secret.hex()):
        assert secret not in text
