"""The server as its own processes: from an empty folder to an answer that a device trusts, and what is left after kills."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.client import HTTPException

import msgspec
import pytest
from click.testing import CliRunner
from walle_deploy.cli_deploy import command
from walle_deploy.errors import DeployError
from walle_deploy.profile import Profile
from walle_deploy.server.testing import running_server
from walle_deploy.trust import (
    AnswerVerifier,
    Gate,
    HttpTransport,
    ImageClient,
    Installed,
    TrustState,
    load_key,
)

PREFIX = "/api/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("two"), workers=2) as made:
        yield made


class Phone:
    """A device with what the real one has: a token, a root, and a gate."""

    def __init__(self, server, folder, name="phone-1"):
        self.server, self.name, self.installed = server, name, {}
        self.token = server.register(name)
        self.state = TrustState(folder / "state")
        images = ImageClient(
            folder / "tuf", HttpTransport(f"{server.base_url}/images"), server.root, self.state
        )
        self.gate = Gate(AnswerVerifier(name, self.state), images)

    def profile(self):
        return Profile(
            self.name, {"os": "android"}, {}, {task: f"v{i.version}" for task, i in self.installed.items()}
        )

    def check(self, **headers):
        sent = {"authorization": f"Bearer {self.token}", **headers}
        return self.server.call("POST", "/walle/check", self.profile().canonical, role=None, headers=sent)

    def digest(self):
        return self.server.call(
            "GET", "/walle/check", role=None, headers={"walle-profile": self.profile().header()}
        )


@pytest.fixture
def phone(server, tmp_path):
    made = Phone(server, tmp_path)
    yield made
    made.state.close()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not (made := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return made


def test_a_device_gets_what_is_released_and_trusts_it(server, phone):
    server.add_task("rank")
    manifest = server.publish("rank", 1, {"main.py": b"print('v1')", "model.bin": os.urandom(300_000)})
    assert phone.check().status == 204
    server.release("rank", 1)
    answer = until(lambda: phone.check().body)
    decision = phone.gate.decide(answer, phone.installed)
    assert not decision.refused
    (approved,) = decision.approved
    assert (approved.task, approved.version, approved.manifest.hex()) == ("rank", 1, manifest.digest)
    assert approved.base == server.base_url
    image = phone.gate.images.image("rank", 1)
    assert phone.gate.images.manifest(image) == manifest.encode()
    for file in manifest.files:
        with urllib.request.urlopen(f"{approved.base}/files/{file.sha256[:2]}/{file.sha256[2:]}") as got:
            assert len(got.read()) == file.size
    phone.installed["rank"] = Installed(1, approved.manifest)
    assert phone.check().status == 204  # also from a worker that has not seen the release yet
    assert until(lambda: phone.digest().status == 204)


def test_both_workers_serve(server):
    def process():
        boards = server.folder.joinpath("workers").glob("*.board")
        return {int(path.name.partition("-")[0]) for path in boards}

    assert len(server.workers()) == 2
    for _ in range(40):
        server.call("GET", "/healthz", role=None, expect=200)
    assert until(lambda: process() >= set(server.workers()))


def test_a_worker_that_is_killed_is_replaced_and_nobody_waits_for_long(server, phone):
    old = server.workers()
    failed, answers, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                answers.append(phone.check().status)
            except (OSError, HTTPException) as error:
                failed.append(error)
            time.sleep(0.01)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    time.sleep(0.1)
    os.kill(old[0], signal.SIGKILL)
    new = until(lambda: len(found := server.workers()) == 2 and set(found) != set(old) and found)
    assert old[1] in new
    time.sleep(0.3)
    over.set()
    for thread in asking:
        thread.join()
    assert len(failed) <= 3  # those that the worker was answering
    assert set(answers) <= {200, 204, 429}
    server.call("GET", "/healthz", role=None, expect=200)


def test_what_was_acknowledged_outlasts_the_kill_of_all_workers(server, phone):
    task = "kept"
    server.add_task(task)
    server.publish(task, 1, {"main.py": b"1"})
    release = server.release(task, 1)
    headers = {"authorization": f"Bearer {phone.token}", "walle-id": phone.name}
    body = msgspec.msgpack.encode([[7, task, "v1", True, {}, "it broke"]])
    server.call("POST", "/walle/reports", body, role=None, headers=headers, expect=204)
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    shown = until(lambda: _release(server, release))
    assert [line["why"] for line in shown["failures"]] == ["it broke"]


def _release(server, release):
    with contextlib.suppress(OSError):
        got = server.call("GET", f"{PREFIX}/releases/{release}")
        return got.json if got.status == 200 else None


def test_the_log_is_json_and_holds_no_secret(server):
    server.call("POST", f"{PREFIX}/tokens", {"name": "x", "role": "viewer"}, expect=201)
    server.call("GET", f"{PREFIX}/tasks?token={server.tokens['admin']}", expect=400)
    lines = until(server.logged)
    assert {"at", "level", "event", "process"} <= set(lines[-1])
    text = server.log.read_text()
    for secret in (*server.tokens.values(), server.enrol, (server.folder / "secret").read_text().strip()):
        assert secret not in text
    for line in text.splitlines():
        json.loads(line)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run(*arguments):
    """A command of ``walle deploy`` in this process."""
    done = CliRunner().invoke(command, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_init_says_what_it_made_once_and_token_makes_more(tmp_path, monkeypatch):
    monkeypatch.delenv("WALLE_KEY_PASSPHRASE", raising=False)
    folder = str(tmp_path / "data")
    made = json.loads(run("init", folder, "--json"))
    assert set(made) == {"folder", "admin", "enrol", "passphrase"}
    with pytest.raises(DeployError, match="not empty"):
        run("init", folder)
    assert run("token", folder, "--role", "viewer", "--name", "alice").startswith("walle_")
    assert json.loads(run("root", folder))["signed"]["_type"] == "root"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert made["admin"].encode() not in path.read_bytes()
            assert made["passphrase"].encode() not in path.read_bytes()
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "chosen by me")
    assert "passphrase" not in run("init", str(tmp_path / "other"))
    load_key(tmp_path / "other" / "keys" / "root", lambda _: "chosen by me")


def test_what_people_signed_is_signed_again_while_the_server_runs(server, phone):
    def expires():
        return server.call("GET", f"{PREFIX}/images", expect=200).json["expires"]

    before = expires()
    time.sleep(1.1)  # expiry is in whole seconds
    done = CliRunner().invoke(
        command, ["renew", str(server.folder)], env={"WALLE_KEY_PASSPHRASE": "a passphrase for tests"}
    )
    assert done.exit_code == 0, done.output
    assert expires()["targets"] > before["targets"]
    phone.gate.images.refresh()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--base-url"),
        (["--host", "203.0.113.1"], "cannot be listened on"),
        (["--cert", "secret"], "--cert FILE --key FILE"),
        (["--cert", "secret", "--key", "secret"], "PEM"),
        (["--cloud", "server.toml"], "task"),
        (["--simulate", ".", "--simulate-schema", "nonsense"], "module:attribute"),
        (["--database", "mysql://x"], "sqlite:///path or postgresql"),
        (["--database", "sqlite:////nowhere/x.db"], "unable to open"),
    ],
)
def test_settings_that_cannot_be_served_are_refused_at_once(tmp_path, monkeypatch, arguments, words):
    run("init", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(DeployError, match=words):
        run("serve", str(tmp_path / "data"), "--port", "0", *arguments)
    with pytest.raises(DeployError, match="walle deploy init"):
        run("serve", str(tmp_path))
    (tmp_path / "data" / "keys" / "director").unlink()
    with pytest.raises(DeployError, match="director"):
        run("serve", str(tmp_path / "data"), "--port", "0")


def test_workers_that_cannot_start_say_why_and_are_not_started_for_ever(tmp_path):
    folder = tmp_path / "data"
    run("init", str(folder))
    (folder / "images").rename(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-m", "walle_core", "deploy", "serve", str(folder), "--port", "0", "--workers", "2"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no image repository" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_serves_on_postgresql(postgres, tmp_path):
    with running_server(tmp_path, database=postgres.database(), tunnel="none") as server:
        server.add_task("rank")
        server.publish("rank", 1, {"main.py": b"print('v1')"})
        release = server.release("rank", 1)
        phone = Phone(server, tmp_path)
        assert phone.gate.decide(until(lambda: phone.check().body), {}).approved
        phone.state.close()
        body = msgspec.msgpack.encode([[1, "rank", "v1", False, {}, ""]])
        headers = {"authorization": f"Bearer {phone.token}", "walle-id": phone.name}
        server.call("POST", "/walle/reports", body, role=None, headers=headers, expect=204)
        assert server.call("GET", f"{PREFIX}/releases/{release}").json["heard"] == 1
        assert not server.folder.joinpath("walle.db").exists()


def test_a_helper_that_cannot_start_its_server_says_why(tmp_path):
    with (
        pytest.raises((AssertionError, DeployError), match="sqlite:///path or postgresql"),
        running_server(tmp_path, database="x://"),
    ):
        pass


def test_workers_end_with_their_supervisor_and_all_is_there_at_the_next_start_with_tls(server, tmp_path):
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    until(lambda: not [pid for pid in workers if _alive(pid)])

    import ssl
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "k.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    arguments = ["--cert", str(tmp_path / "c.pem"), "--key", str(tmp_path / "k.pem")]
    arguments += ["--workers", "1"]
    with running_server(server.folder.parent, arguments=arguments) as again:
        assert again.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
        with urllib.request.urlopen(f"{again.url}/healthz", context=trusting) as got:
            assert got.read() == b"ok\n"
        shown = again.call("GET", f"{PREFIX}/tasks", expect=200).json
        assert [task["name"] for task in shown] == ["kept", "rank"]
        assert again.stop() == 0
