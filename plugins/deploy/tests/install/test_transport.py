"""HTTP from some byte on, and servers that do it wrong."""

import contextlib
import hashlib
import http.server
import os
import threading
import time

import pytest
from install_power import QuickDisk
from walle_deploy.errors import StoreError
from walle_deploy.install.fetch import Fetcher, Patience, Source
from walle_deploy.install.transport import UrlTransport
from walle_deploy.manifest import File

NEW = os.urandom(200_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves NEW: /ranges, /whole (ignores Range), /lies (another range), /cut (half), /503, /404, /429, /loop, /drip (without end)."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if self.path[1:].isdigit():
            self.send_error(int(self.path[1:]))
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        data = NEW
        if start and self.path != "/whole":
            self.send_response(206)
            said = start + 1 if self.path == "/lies" else start
            self.send_header("Content-Range", f"bytes {said}-{len(NEW) - 1}/{len(NEW)}")
            data = NEW[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            while self.path == "/drip":
                self.wfile.write(b"a")
                self.server.over.wait(0.02)
            self.wfile.write(data[: (len(data) + 1) // 2] if self.path == "/cut" else data)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.over = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def read(server, path, offset=0):
    url = f"http://127.0.0.1:{server.server_port}/{path}"
    return b"".join(UrlTransport(5).read(url, offset))


@pytest.mark.parametrize("path", ["ranges", "whole"])
@pytest.mark.parametrize("offset", [0, 1, 70_000, len(NEW) - 1])
def test_http_from_an_offset(web, path, offset):
    assert read(web, path, offset) == NEW[offset:]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("503", OSError),
        ("429", OSError),
        ("404", StoreError),
        ("403", StoreError),
        ("loop", StoreError),
    ],
)
def test_http_errors_that_another_try_may_cure_are_oserrors(web, path, error):
    with pytest.raises(error):
        read(web, path)


def test_http_lies_about_the_range(web):
    with pytest.raises(StoreError, match="another range"):
        read(web, "lies", 5)


def test_a_fetch_over_http_resumes(web, tmp_path):
    url = f"http://127.0.0.1:{web.server_port}/cut"
    web.asked.clear()
    made = Fetcher(UrlTransport(5), tmp_path, disk=QuickDisk(), sleep=lambda seconds: None)
    file = File("model", hashlib.sha256(NEW).hexdigest(), len(NEW))
    assert made.fetch(file, Source(url)).read_bytes() == NEW  # each answer has half of what is left
    assert len(web.asked) > 10
    assert made.bytes == len(NEW)


def test_a_server_that_sends_byte_by_byte_meets_the_deadline(web, tmp_path):
    url = f"http://127.0.0.1:{web.server_port}/drip"
    patience = Patience(tries=1, deadline_s=0.3)
    made = Fetcher(UrlTransport(5), tmp_path, patience=patience, disk=QuickDisk())
    file = File("model", hashlib.sha256(NEW).hexdigest(), len(NEW))
    start = time.monotonic()
    with pytest.raises(StoreError, match="the deadline has come"):
        made.fetch(file, Source(url))
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "", "http://", "http://[", "http://127.0.0.1:1/"]
)
def test_urls_that_are_not_read(url):
    with pytest.raises((StoreError, OSError)):
        list(UrlTransport(1).read(url, 0))


def test_file_urls_where_they_are_allowed(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    assert list(UrlTransport(schemes=["file"]).read((tmp_path / "x").as_uri(), 3)) == [b"tent"]
