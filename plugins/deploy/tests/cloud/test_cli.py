"""``walle cloud``: the file, serving as a process, and the table of costs."""

import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from cloud_world import STREAM, TOML, fill, largest, sample
from walle_deploy.cli_cloud import command
from walle_deploy.cloud.config import authenticate_of, price_of, read, service_of, store_of
from walle_deploy.cloud.device import Answers
from walle_deploy.cloud.models import SessionModel
from walle_deploy.errors import CloudError, DeployError, TaskError
from walle_deploy.server.auth import device_token
from walle_deploy.server.folder import secret
from walle_deploy.server.testing import make_folder

from walle_core.plugins import load_plugins

WHOLE = """
sink = "sink.db"
database = "sqlite:///cloud.db"
server = "server"
batch = 8
[[task]]
declared = "digits/walle.toml"
model = "large.onnx"
[price]
cpu_hour = 36.0
gb = 1.0
currency = "USD"
"""


@pytest.fixture
def folder(tmp_path, large):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "walle.toml").write_text(TOML)
    (tmp_path / "large.onnx").write_bytes(large.read_bytes())
    (tmp_path / "cloud.toml").write_text(WHOLE)
    return tmp_path


def text(folder, content):
    path = folder / "cloud.toml"
    path.write_text(content)
    return read(path)


def test_the_command_is_registered():
    assert load_plugins().commands.get("cloud").summary
    assert set(command.commands) == {"serve", "costs"}


def test_serve_and_costs(folder):
    make_folder(folder / "server")
    token = device_token(secret(folder / "server"), "d1")
    fill(folder / "sink.db", *(sample(n, n) for n in range(10)), b"nothing")
    process = subprocess.Popen(
        [sys.executable, "-m", "walle_core", "cloud", "serve", str(folder / "cloud.toml"), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
        answers, found, since = Answers(line.split()[0], "d1", token), [], 0
        while len(found) < 11:
            some, since = answers.since(since, wait=20)
            found += some
        assert [largest(a.answer) for a in found[:10]] == list(range(10))
        assert not found[10].ok
        with pytest.raises(CloudError, match="401"):
            Answers(line.split()[0], "d2", token).since(0)
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=20)[1]
    assert process.returncode == 0, rest
    shown = CliRunner().invoke(command, ["costs", str(folder / "cloud.toml"), "--json"])
    nobody, digits = json.loads(shown.output)
    assert (nobody["task"], nobody["samples"], nobody["aside"]) == ("", 1, 1)
    assert (digits["task"], digits["version"], digits["samples"], digits["currency"]) == (
        "digits",
        "v3",
        10,
        "USD",
    )
    assert digits["money"] == pytest.approx(
        digits["cpu_ms"] / 1e5 + (digits["bytes_up"] + digits["bytes_down"]) / 1e9, rel=1e-6
    )
    table = CliRunner().invoke(command, ["costs", str(folder / "cloud.toml"), "--days", "1"]).output
    assert table.splitlines()[0].split()[:3] == ["task", "version", "runs"]
    assert table.splitlines()[2].split()[:4] == ["digits", "v3", "0", "10"]
    assert "USD" in table


def test_the_file_says_what_the_service_is(folder):
    found = read(folder / "cloud.toml")
    service = service_of(found, folder)
    (tasks,) = service._streams.values()
    assert service._streams.keys() == {STREAM}
    assert tasks["digits"].model == SessionModel(str(folder / "large.onnx"))
    assert set(tasks["digits"].signature.values) == {"x"}
    service.store.close()
    assert price_of(found.price).cpu_s == 0.01
    with_names = text(
        folder,
        WHOLE.replace("[price]", 'inputs = { x = "points" }\n[price]').replace("batch = 8", "processes = 3"),
    )
    service = service_of(with_names, folder)
    assert service._streams[STREAM]["digits"].model.names == (("x", "points"),)
    assert service._parallel == 3
    service.store.close()


def test_without_a_server_no_token_is_good(folder):
    found = text(folder, WHOLE.replace('server = "server"', ""))
    assert not authenticate_of(found, folder)("d1", "")
    store_of(found, folder).close()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "task"),
        ("task = []", "task"),
        ("[task", "cannot be read"),
        (WHOLE + "[more]\n", "more"),
        (WHOLE.replace("batch = 8", "batch = 0"), "batch"),
        (WHOLE.replace("batch = 8", 'port = "x"'), "port"),
        (WHOLE.replace("gb = 1.0", "gb = -1"), "price.gb"),
    ],
)
def test_files_that_are_wrong(folder, content, why):
    with pytest.raises(CloudError, match=why):
        text(folder, content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (WHOLE.replace("large.onnx", "none.onnx"), "no such file"),
        (WHOLE.replace("digits/walle.toml", "none/walle.toml"), "cannot be read"),
        (WHOLE.replace('declared = "digits/walle.toml"', ""), "name"),
        (WHOLE.replace("sqlite:///cloud.db", "mysql://x"), "database"),
        (
            WHOLE.replace(
                "[price]", '[[task]]\ndeclared = "digits/walle.toml"\nmodel = "large.onnx"\n[price]'
            ),
            "two models",
        ),
    ],
)
def test_services_that_cannot_be_made(folder, content, why):
    found = text(folder, content)
    with pytest.raises(DeployError, match=why):
        service_of(found, folder)


def test_a_task_without_cloud(folder):
    path = folder / "digits" / "walle.toml"
    path.write_text(TOML[: TOML.index("[cloud]")])
    with pytest.raises(TaskError, match=r"no \[cloud"):
        service_of(read(folder / "cloud.toml"), folder)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('host = "0.0.0.0"', "in the clear"),
        ('cert = "c.pem"', "belong together"),
        ('host = "256.1.1.1"\ncert="c"\nkey="k"', "listened"),
    ],
)
def test_serving_that_cannot_begin(folder, more, why):
    make_folder(folder / "server")
    (folder / "cloud.toml").write_text(f"{more}\n{WHOLE}")
    shown = CliRunner().invoke(command, ["serve", str(folder / "cloud.toml")])
    assert isinstance(shown.exception, CloudError)
    assert why in str(shown.exception)
