"""From a device through a real tunnel to the larger model and back."""

import threading
import types

import msgspec
import pytest
from cloud_models import labels
from cloud_world import (
    CONFIG,
    SIGNATURE,
    STREAM,
    device,
    largest,
    picture,
    running,
    sample,
    tunnel_server,
    until,
)
from hook_world import served
from walle_deploy.agent.cloud import _sample
from walle_deploy.agent.delivery import STREAM as REPORTS
from walle_deploy.agent.journal import Outcome
from walle_deploy.cloud.asgi import CloudApp
from walle_deploy.cloud.costs import Price
from walle_deploy.cloud.device import Answers
from walle_deploy.cloud.models import SessionModel
from walle_deploy.cloud.sample import Sample
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.work import CloudTask
from walle_deploy.errors import CloudError
from walle_deploy.task.packing import unpack
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

from walle_core import Tensor

DEVICES = {"d1": "token-1", "d2": "token-2"}


def good(device, token):
    return DEVICES.get(device) == token


def report(number, unsure, version="v3", **more):
    values = {"ms": 3.0, "unsure": float(unsure), **more}
    return msgspec.msgpack.encode([Outcome(number, "digits", version, failed=False, values=values)])


def test_from_devices_to_the_model_and_back(tmp_path, store, large):
    told = []
    task = CloudTask("digits", STREAM, SessionModel(str(large)), SIGNATURE)
    service = CloudService(
        SqliteSink(tmp_path / "sink.db"),
        [task],
        store,
        price=Price(cpu_s=1.0, gb=10.0),
        on_answer=told.append,
    )
    with (
        tunnel_server(tmp_path / "sink.db", DEVICES) as url,
        device(url, "d1", "token-1", tmp_path) as one,
        device(url, "d2", "token-2", tmp_path) as two,
        served(CloudApp(service, good), lifespan="on") as port,
    ):
        answers = Answers(f"http://127.0.0.1:{port}", "d1", "token-1")
        assert answers.since(0) == ([], 0)
        for number in range(20):
            one.send(STREAM, sample(number % 10, number), f"s{number}")
            one.send(STREAM, sample(number % 10, number), f"s{number}")  # the same again changes nothing
        two.send(STREAM, sample(7))
        for number in range(100):
            one.send(REPORTS, report(number, number < 20))
        one.send(REPORTS, report(100, unsure=False, version="v2"))
        found, number = [], 0
        while len(found) < 20:
            some, number = answers.since(number, wait=10)
            found += some
        assert [a.run for a in found] == [f"digits/{n}" for n in range(20)]
        assert [largest(a.answer) for a in found] == [n % 10 for n in range(20)]
        assert {(a.device, a.stream, a.task, a.version, a.ok, a.why) for a in found} == {
            ("d1", STREAM, "digits", "v3", True, "")
        }
        assert [a.seq for a in found] == list(range(1, 21))
        assert answers.since(number) == ([], number)
        (other,), _ = Answers(f"http://127.0.0.1:{port}", "d2", "token-2").since(0, wait=10)
        assert largest(other.answer) == 7
        until(lambda: sum(row.runs for row in service.costs()) == 101)
        until(lambda: len(told) == 21)
        old, new = service.costs()
        assert (old.version, old.runs, old.samples, old.money) == ("v2", 1, 0, 0.0)
        assert (new.version, new.runs, new.unsure, new.samples, new.aside) == ("v3", 100, 20, 21, 0)
        assert new.share == 0.21
        assert new.bytes_up == sum(len(sample(n % 10, n)) for n in range(20)) + len(sample(7))
        assert new.bytes_down == sum(len(a.answer) for a in [*found, other])
        assert new.money == pytest.approx(new.cpu_ms / 1e3 + 10.0 * (new.bytes_up + new.bytes_down) / 1e9)
        assert new.ms > 0
        assert service.costs(days=1) == [old, new]
        with pytest.raises(CloudError, match="401"):
            Answers(f"http://127.0.0.1:{port}", "d1", "token-2").since(0)
    assert sorted(a.number for a in told) == [a.number for a in told]
    # another start does not ask the model again, nor tell the application
    again = CloudService(SqliteSink(tmp_path / "sink.db"), [task], store, on_answer=told.append)
    with running(again):
        until(lambda: store.positions(REPORTS) == {"d1": 101})
    assert len(told) == 21
    assert sum(row.samples for row in again.costs()) == 21


def test_what_the_agent_sends_is_a_sample():
    loaded = types.SimpleNamespace(task="digits", name="v3", config=CONFIG)
    run = types.SimpleNamespace(
        inputs={"x": picture(4), "hint": {"a": 1}}, result={"label": 3, "sure": 0.2, "features": {}}
    )
    payload = _sample(CONFIG.cloud, loaded, types.SimpleNamespace(time=123), run, "digits/abc")
    found = Sample.read(payload)
    assert (found.task, found.version, found.run, found.time) == ("digits", "v3", "digits/abc", 123)
    assert found.outputs == {"label": 3, "sure": 0.2}
    ready = SIGNATURE.ready(found.inputs)
    assert set(ready) == {"x"}
    assert isinstance(ready["x"], Tensor)
    assert labels([ready]) == [{"label": 4}]


def test_http_of_devices(tmp_path, store):
    import urllib3

    service = CloudService(SqliteSink(tmp_path / "sink.db"), [CloudTask("digits", STREAM, labels)], store)
    pool = urllib3.PoolManager(retries=False)
    head = {"Walle-Id": "d1", "Authorization": "Bearer token-1"}
    with served(CloudApp(service, good), lifespan="on") as port:
        base = f"http://127.0.0.1:{port}"

        def status(path, headers=head, method="GET"):
            return pool.request(method, base + path, headers=headers).status

        assert status("/healthz", {}) == 200
        assert status("/walle/answers") == 200
        assert status("/walle/answers?since=5&wait=0") == 200
        for query in ("since=-1", "since=x", "since=" + "9" * 30, "wait=1e9", "other=1", "since=%00"):
            assert status(f"/walle/answers?{query}") == 400, query
        assert status("/walle/answers", method="POST") == 405
        assert status("/elsewhere") == 404
        for wrong in (
            {},
            {"Walle-Id": "d1"},
            {**head, "Authorization": "Bearer x"},
            {**head, "Walle-Id": "d2"},
            {**head, "Walle-Id": ""},
        ):
            assert status("/walle/answers", wrong) == 401
        assert {status("/walle/answers") for _ in range(60)} == {200, 429}
        for _ in range(40):
            status("/walle/answers", {})
        assert status("/walle/answers", {}) == 429
        answer = pool.request("GET", f"{base}/walle/answers", headers={**head, "Walle-Id": "nobody\xff"})
        assert b"error" in answer.data
    pool.clear()


def test_an_answer_wakes_only_the_device_that_waits(tmp_path, store):
    service = CloudService(SqliteSink(tmp_path / "sink.db"), [CloudTask("digits", STREAM, labels)], store)
    with (
        tunnel_server(tmp_path / "sink.db", DEVICES) as url,
        device(url, "d1", "token-1", tmp_path) as one,
        served(CloudApp(service, good), lifespan="on") as port,
    ):
        got = []
        thread = threading.Thread(
            target=lambda: got.append(Answers(f"http://127.0.0.1:{port}", "d1", "token-1").since(0, wait=20))
        )
        thread.start()
        until(lambda: "d1" in service._waiting)
        one.send(STREAM, sample(5))
        thread.join(10)
        ((found, _),) = got
        assert unpack(found[0].answer) == {"label": 5}
        assert Answers(f"http://127.0.0.1:{port}", "d2", "token-2").since(0, wait=0) == ([], 0)
    assert service._waiting == {}


def test_answers_refuses_what_is_no_answer(tmp_path):
    async def app(scope, receive, send):
        body = {"/a/walle/answers": b"\xff", "/b/walle/answers": bytes(5 << 20)}.get(scope["path"], b"x")
        status = 302 if scope["path"].startswith("/c") else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"location", b"/a")]})
        await send({"type": "http.response.body", "body": body})

    with served(app, lifespan="off") as port:
        for path in "abc":
            with pytest.raises(CloudError):
                Answers(f"http://127.0.0.1:{port}/{path}", "d1", "t").since(0)
    with pytest.raises(CloudError):
        Answers("http://127.0.0.1:9", "d1", "t").since(0)
    with pytest.raises(CloudError, match="in the clear"):
        Answers("http://cloud.example", "d1", "t")
