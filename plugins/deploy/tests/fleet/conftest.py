"""A server that the tests of one file share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real server with the task ocr in two versions, the first of which all devices run."""
    from walle_deploy.server.testing import running_server

    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def task(server, request):
    """A task of the test's own at the server, with v1 released and v2 tagged."""
    import msgspec

    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:60]
    server.add_task(name)
    for number in (1, 2):
        server.publish(name, number, {"main.py": b"# %d of %s" % (number, name.encode())})
    server.release(name, 1)
    token = server.register("first-device")
    body = msgspec.msgpack.encode([[1, name, "v1", False, {}, ""]])
    headers = {"authorization": f"Bearer {token}", "walle-id": "first-device"}
    server.call("POST", "/walle/reports", body, role=None, headers=headers, expect=204)
    yield name
    server.call("DELETE", f"/api/v1/tasks/{name}")
