"""Requests: which are repeated, what is refused before it is sent, and what errors say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from walle_deploy.client import Connection, DeployClient, ServerError
from walle_deploy.client.settings import git_config, remember, settings, tokens_file
from walle_deploy.errors import DeployError
from walle_deploy.task.repo import Scenario


@pytest.fixture
def answers():
    """A server that gives the answers in a list, the last one for ever, and its requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        given, asked = [], []

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.asked.append((self.command, self.path, body))
            status, headers, data = self.given.pop(0) if len(self.given) > 1 else self.given[0]
            if status is None:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Handler
    server.shutdown()
    server.server_close()


def connection(answers, **options):
    return Connection(answers.url, "token", wait_s=0.01, **options)


BROKEN, BUSY, OK = (None, {}, b""), (503, {"Retry-After": "0"}, b""), (200, {}, b"{}")


def test_what_may_be_repeated_is(answers):
    answers.given = [BROKEN, BUSY, (429, {"Retry-After": "0"}, b""), OK]
    assert connection(answers).request("GET", "/x") == b"{}"
    assert len(answers.asked) == 4


def test_what_was_sent_is_sent_again_and_counted_once(answers):
    answers.given = [BUSY, OK]
    sent = []
    connection(answers).request("PUT", "/x", body=b"data" * 1000, sent=sent.append)
    assert [body for _, _, body in answers.asked] == [b"data" * 1000] * 2
    assert sum(sent) == 4000


@pytest.mark.parametrize("first", [BROKEN, BUSY])
def test_a_post_is_not_repeated(answers, first):
    answers.given = [first, OK]
    with pytest.raises(ServerError) as told:
        connection(answers).request("POST", "/x", value={})
    assert len(answers.asked) == 1
    if first is BROKEN:
        assert "may or may not have been done" in str(told.value)


def test_a_post_that_came_too_soon_is_repeated(answers):
    answers.given = [(429, {"Retry-After": "0"}, b""), OK]
    assert connection(answers).request("POST", "/x", value={"a": 1}) == b"{}"
    assert [body for _, _, body in answers.asked] == [b'{"a": 1}'] * 2


def test_it_gives_up(answers):
    answers.given = [BUSY]
    with pytest.raises(ServerError) as told:
        connection(answers, tries=3).request("GET", "/x")
    assert told.value.status == 503 and len(answers.asked) == 3


def test_the_servers_words_are_shown(answers):
    answers.given = [(409, {}, json.dumps({"error": "v3 is there", "fix": "tag v4"}).encode())]
    with pytest.raises(ServerError, match=r"^v3 is there; tag v4$") as told:
        connection(answers).request("POST", "/x", value={})
    assert told.value.status == 409


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'"x"', b'{"fix": 1}', b"\xff", b"[" * 100_000])
def test_an_answer_without_words(answers, data):
    answers.given = [(500, {}, data)]
    with pytest.raises(ServerError, match="answered with 500"):
        connection(answers).request("GET", "/x")


@pytest.mark.parametrize("status", [401, 403, 413])
def test_what_to_do_about_a_status(answers, status):
    answers.given = [(status, {}, json.dumps({"error": "no"}).encode())]
    with pytest.raises(ServerError, match="no; "):
        connection(answers).request("GET", "/x")


def test_somebody_without_a_token_is_told_how_to_give_one_here(answers):
    said = {"error": "a token is missing", "fix": "send `Authorization: Bearer <token>`"}
    answers.given = [(401, {}, json.dumps(said).encode())]
    with pytest.raises(
        ServerError, match="a token is missing; log in: `walle task login`, or set WALLE_TOKEN"
    ):
        connection(answers).request("GET", "/x")


def test_a_redirection_is_not_followed(answers):
    answers.given = [(302, {"Location": "http://127.0.0.1:9/"}, b"")]
    with pytest.raises(ServerError, match="302"):
        connection(answers).request("GET", "/x")


def test_what_is_absent(answers):
    answers.given = [(404, {}, b"")]
    assert connection(answers).request("GET", "/x", absent=True) is None
    with pytest.raises(ServerError):
        connection(answers).request("GET", "/x")


def test_parts_of_paths_stay_parts(answers):
    answers.given = [(200, {}, b"{}")]
    client = DeployClient(answers.url, "token")
    client.retire("a/../b?c#d")
    client.pause(3)
    client.segment("x y/é")
    assert [path for _, path, _ in answers.asked] == [
        "/api/v1/tasks/a%2F..%2Fb%3Fc%23d", "/api/v1/releases/3/pause", "/api/v1/segments/x%20y%2F%C3%A9",
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"name": 1}', b"\xff", b'{"policy": {}}'])
def test_an_answer_that_is_none(answers, data):
    answers.given = [(200, {}, data)]
    with pytest.raises(ServerError, match="does not understand"):
        DeployClient(answers.url, "token").task("ipv")


@pytest.mark.parametrize(
    "url",
    ["", "walle.example.com", "ftp://x", "https://", "https://u:p@x", "https://x/?q=1", "https://x/#f", "http://[", "https://x:y"],
)  # fmt: skip
def test_urls_that_are_none(url):
    with pytest.raises(ServerError, match="no URL"):
        Connection(url)


def test_a_token_goes_through_the_open_only_on_this_machine():
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://x.example"):
        Connection(url, "token")
    for url in ("http://x.example", "http://10.0.0.1", "http://localhost.example.com"):
        with pytest.raises(ServerError, match="use https"):
            Connection(url, "token")
    Connection("http://x.example", "token", open_http=True)


@pytest.mark.parametrize("token", ["a b", "a\nb", "ä", "a\x7f"])
def test_tokens_that_are_none(token):
    with pytest.raises(ServerError, match="copy it again"):
        Connection("https://x", token)


def test_settings_come_from_many_places(clean, monkeypatch):
    git = Scenario.init(clean, "shop").git
    with pytest.raises(ServerError, match="no server is named"):
        settings(git_config(git))
    config = git.get_config()
    config.set((b"deploy",), b"server", b"https://git.example/")
    config.write_to_path()
    remember("https://git.example", "kept")
    found = settings(git_config(git))
    assert (found.server, found.token) == ("https://git.example", "kept")
    assert "kept" not in repr(found)
    monkeypatch.setenv("WALLE_SERVER", "https://env.example")
    assert settings(git_config(git)).token == ""
    monkeypatch.setenv("WALLE_TOKEN", "mine\n")
    assert (settings().server, settings().token) == ("https://env.example", "mine")


def test_kept_tokens_are_for_their_owner_only(clean):
    path = remember("https://a.example", "one")
    remember("https://b.example/", "two")
    assert path == tokens_file() and path.stat().st_mode & 0o777 == 0o600
    remember("https://a.example", "")
    assert json.loads(path.read_text()) == {"https://b.example": "two"}
    path.chmod(0o644)
    with pytest.raises(DeployError, match="chmod 600"):
        settings(lambda name: "https://b.example")
    for text in ("[]", "{", '{"a": 1}'):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(DeployError, match="log in again"):
            settings(lambda name: "https://b.example")


def test_events_end_with_silence(answers):
    line = b'data: {"release": 3, "task": "ipv", "status": "running", "revision": 1, "line": "x"}\n\n'
    answers.given = [(200, {"Content-Length": "600"}, line)]
    events = DeployClient(answers.url, "token").events(idle_s=0.2)
    assert next(events).release == 3
    with pytest.raises(ServerError, match="cannot be reached"):
        next(events)


def test_a_terminal_does_not_obey_a_server(answers):
    answers.given = [(400, {}, json.dumps({"error": "no\x1b[2J\x9b", "fix": "\x07"}).encode())]
    with pytest.raises(ServerError) as told:
        connection(answers).request("GET", "/x")
    assert (
        str(told.value)
        == "no\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}; \N{REPLACEMENT CHARACTER}"
    )


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate for 127.0.0.1 that signs itself, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "walle")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    made = made.add_extension(here, False).add_extension(x509.BasicConstraints(True, None), True)
    path = tmp_path / "certificate.pem"
    kind = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, *kind)
    )
    return path


def test_a_certificate_must_be_trusted(answers, certificate):
    import ssl

    answers.given = [OK]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(ServerError, match="name it with WALLE_CA"):
            Connection(url, "token", wait_s=0.01).request("GET", "/x")
        own = {"ca": str(certificate), "certificate": str(certificate)}
        for options in ({"ca": str(certificate)}, own):
            made = Connection(url, "token", wait_s=0.01, **options)
            assert made.request("GET", "/x") == b"{}"
            made.close()
    finally:
        server.shutdown()
        server.server_close()


def test_files_of_certificates_that_are_not_there():
    for options in ({"ca": "/nowhere"}, {"ca": __file__}, {"certificate": "/nowhere"}):
        with pytest.raises(ServerError, match="https://127"):
            Connection("https://127.0.0.1:9", "token", wait_s=0.01, tries=1, **options).request("GET", "/x")
