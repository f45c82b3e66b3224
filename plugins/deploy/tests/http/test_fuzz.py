"""Whatever is sent, the server answers what its description says, in JSON, and never fails."""

import json
import os
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from walle_deploy.server.api import OPERATIONS
from walle_deploy.server.api.routing import PREFIX
from walle_deploy.server.auth import device_token
from walle_deploy.server.limits import Buckets

LONG = pytest.mark.full
MORE = 40 if os.environ.get("WALLE_FULL") else 1
REQUEST = {"method", "url", "headers", "data", "params", "json", "files"}
FUZZ = settings(deadline=None, max_examples=60 * MORE, suppress_health_check=list(HealthCheck))

texts = st.text(max_size=40) | st.sampled_from(
    [
        "'; DROP TABLE tasks;--",
        "<script>",
        "../../secret",
        "\0",
        "\u202e",
        "%00",
        "v1",
        "phone-1",
        "rank",
        "ÿ" * 200,
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
policies = st.recursive(
    st.fixed_dictionaries({"everyone": st.booleans()})
    | st.fixed_dictionaries({"devices": st.lists(texts, max_size=3)})
    | st.fixed_dictionaries({"device": st.dictionaries(texts, values, max_size=3)})
    | st.fixed_dictionaries({"uniform": st.fixed_dictionaries({"percent": values, "salt": texts})})
    | st.fixed_dictionaries({"segment": texts}),
    lambda inner: (
        st.fixed_dictionaries({"all": st.lists(inner, max_size=3)}) | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=8,
)
plans = st.fixed_dictionaries(
    {"stages": st.lists(st.fixed_dictionaries({"kind": st.sampled_from(["beta", "gray", "full", "x"])}, optional={"percent": values, "control": values, "gates": st.lists(values, max_size=2)}), max_size=3)}
)  # fmt: skip
HINTS = {"policy": policies | values, "plan": plans | values, "name": texts, "why": texts}


def bodies(operation):
    if operation.body is None or not hasattr(operation.body, "__struct_fields__"):
        return values
    fields = {name: HINTS.get(name, values) for name in operation.body.__struct_fields__}
    return st.fixed_dictionaries({}, optional=fields) | st.fixed_dictionaries(fields) | values


def encoded(value):
    """JSON; also of what JSON cannot hold, so that the server has to refuse it."""
    return json.dumps(value, ensure_ascii=True).encode()


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch):
    monkeypatch.setattr(Buckets, "wait", lambda self, key: 0.0)


def fine(got, statuses):
    assert got.status in statuses, (got.status, got.body)
    if got.status >= 400 and got.body:
        assert set(got.json) == {"error", "fix"}
        assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.function], ids=lambda o: o.name)
def test_an_operation_takes_or_refuses_whatever_comes(world, operation):
    allowed = {operation.status, 200, 201, 204, 400, 404, 405, 409, 413}

    @settings(FUZZ, max_examples=25 * MORE)
    @given(st.data())
    def fuzz(data):
        places = {
            name: data.draw(texts | st.sampled_from(["rank", "1", "2", "a" * 64, "phone-1"]), name)
            for name in operation.places
        }
        path = PREFIX + operation.path
        for name, value in places.items():
            path = path.replace(f"{{{name}}}", value.replace("/", "").replace("?", "") or "x")
        body = None if operation.body is None else encoded(data.draw(bodies(operation), "body"))
        headers = {} if body is None else {"content-type": "application/json"}
        query = data.draw(
            st.dictionaries(
                st.sampled_from(["limit", "before", "after", "task", "device", "x"]), texts, max_size=3
            )
        )
        if query:
            path += "?" + urlencode(query, errors="replace")
        got = world.call(operation.method, quote(path, safe="/?=&%", errors="replace"), body, headers=headers)
        fine(got, allowed)

    fuzz()


@FUZZ
@given(
    body=st.binary(max_size=300) | values.map(lambda v: _pack(v)),
    nonce=st.none() | texts,
    token=st.none() | texts,
)
def test_a_check_takes_or_refuses_whatever_comes(world, body, nonce, token):
    given = (
        device_token(world.services.secret, "phone-1")
        if token is None
        else token.encode("utf-8", "replace").decode("latin-1")
    )
    headers = {"authorization": f"Bearer {given}"}
    if nonce is not None:
        headers["walle-nonce"] = nonce.encode("utf-8", "replace").decode("latin-1")
    fine(world.call("POST", "/walle/check", body, role=None, headers=headers), {200, 204, 400, 401})


attributes = st.dictionaries(
    st.text(max_size=10), st.text(max_size=10) | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=4
)


@FUZZ
@given(device=attributes, user=attributes, installed=st.dictionaries(texts, texts, max_size=4))
def test_any_profile_of_a_device_that_has_a_token_is_answered(world, device, user, installed):
    from walle_deploy.errors import PolicyError
    from walle_deploy.profile import Profile

    try:
        profile = Profile("phone-1", device, user, installed)
    except PolicyError:
        return
    fine(world.check(profile), {200, 204, 400})


reports = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), texts, st.sampled_from(["v1", "v2", None]), st.booleans(),
              st.dictionaries(texts, st.floats(), max_size=3), texts), min_size=1, max_size=5,
)  # fmt: skip


@FUZZ
@given(body=st.binary(max_size=300) | values.map(lambda v: _pack(v)) | reports.map(lambda v: _pack(v)))
def test_reports_are_taken_or_refused_whatever_comes(world, body):
    headers = {
        "authorization": f"Bearer {device_token(world.services.secret, 'phone-1')}",
        "walle-id": "phone-1",
    }
    fine(world.call("POST", "/walle/reports", body, role=None, headers=headers), {204, 400, 413})


@FUZZ
@given(body=st.binary(max_size=300) | values.map(encoded))
def test_a_registration_is_taken_or_refused_whatever_comes(world, body):
    fine(world.call("POST", "/walle/register", body, role=None), {400, 401, 413})


@FUZZ
@given(
    path=texts, method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
)
def test_any_path_is_answered(world, path, method):
    for prefix in ("/walle/", "/walle/images/", "/walle/files/", "/api/", f"{PREFIX}/"):
        got = world.call(method, quote(prefix + path, safe="/", errors="replace").replace("?", ""), role=None)
        assert 400 <= got.status < 500, got
        if method != "HEAD":
            assert set(got.json) == {"error", "fix"}


def _pack(value):
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b"\xc1"


def test_the_description_is_kept(world):
    """schemathesis makes the requests, right ones and wrong ones; each answer is one that the description names."""
    schemathesis = pytest.importorskip("schemathesis")
    document = world.call("GET", f"{PREFIX}/openapi.json", role=None).json
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/events"):
            continue
        for mode in schemathesis.GenerationMode:

            @settings(FUZZ, max_examples=4 * MORE)
            @given(case=operation.as_strategy(generation_mode=mode))
            def fuzz(case):
                _keeps(world, case, document)

            fuzz()


def _keeps(world, case, document):
    import requests

    asked = case.as_transport_kwargs(base_url="http://test")
    asked["cookies"] = None
    try:
        request = requests.Request(**{k: v for k, v in asked.items() if k in REQUEST}).prepare()
    except (ValueError, requests.RequestException):  # nothing that a client could send
        return
    body = request.body if isinstance(request.body, bytes | None) else request.body.encode("utf-8", "replace")
    kind = request.headers.get("content-type")
    path = request.url.removeprefix("http://test")
    got = world.call(request.method, path, body, headers={"content-type": kind} if kind else {})
    declared = case.operation.definition.raw["responses"]
    assert str(got.status) in declared, (request.method, path, got.status, got.body)
    assert got.status < 500, got.body
    content = declared[str(got.status)].get("content", {})
    if got.body and "application/json" in content:
        _valid(got.json, content["application/json"]["schema"], document)


def _valid(value, schema, document):
    import jsonschema

    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)
