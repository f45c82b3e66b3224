"""The image metadata over HTTP, from good and from bad servers."""

import socket
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from trust_world import Device
from walle_deploy.errors import TrustError
from walle_deploy.trust import HttpTransport, Limits


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_over_http(fleet):
    fleet.release("shop/rank", 1, b"manifest")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=fleet.folder / "images"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fleet.mirror = HttpTransport(f"http://127.0.0.1:{server.server_port}/")
    device = Device(fleet)
    try:
        assert device.images.manifest(device.images.image("shop/rank", 1)) == b"manifest"
    finally:
        device.state.close()
        fleet.mirror._pool.clear()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
)
def test_slow_retrieval_over_http(fleet, first):
    """One byte now and then, in the headers or in the body: the deadline is for all of it."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve():
        peer, _ = listening.accept()
        with peer:
            peer.sendall(first)
            while not over.wait(0.02):
                try:
                    peer.sendall(b"a")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    fleet.mirror = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}")
    device = Device(fleet, limits=Limits(seconds=0.4))
    begun = time.monotonic()
    with pytest.raises(TrustError, match="too slow"):
        device.images.refresh()
    assert time.monotonic() - begun < 3
    over.set()
    thread.join()
    listening.close()
    device.state.close()


def test_no_server(fleet):
    fleet.mirror = HttpTransport("http://127.0.0.1:9")
    device = Device(fleet)
    with pytest.raises(TrustError, match="cannot be trusted"):
        device.images.refresh()
    device.state.close()


def test_no_url():
    with pytest.raises(TrustError, match="http or https"):
        HttpTransport("file:///etc")
