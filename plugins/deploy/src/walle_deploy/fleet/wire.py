"""HTTP/1.1 as devices speak it, with no more of it than a server's answers to them need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from walle_deploy.fleet.errors import FleetError

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSED = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_LONGEST = 1 << 20  # bytes of an answer


@attrs.frozen
class Address:
    """Where a server listens.

    Attributes:
        host: name or address.
        port: of it.
        tls: whether it speaks TLS.
        path: before ``/walle``.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """Of a server's URL. Raises FleetError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise FleetError(f"{url!r} is no URL of a server: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise FleetError(f"{url!r} is no URL of a server; give one such as http://127.0.0.1:8711")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))


class Requests:
    """Makes the bytes of requests to one address."""

    def __init__(self, address: Address) -> None:
        host = f"[{address.host}]" if ":" in address.host else address.host
        end = f" HTTP/1.1\r\nHost: {host}:{address.port}\r\n".encode()
        path = f"{address.path}/walle/".encode()
        self._digest = b"GET " + path + b"check" + end + b"Walle-Profile: %b\r\n\r\n"
        post = b"POST " + path + b"%b" + end + b"%bContent-Length: %%d\r\n\r\n%%b"
        bearer = b"Authorization: Bearer %b\r\n"
        self._profile = post % (b"check", bearer)
        self._reports = post % (b"reports", b"Walle-Id: %b\r\n" + bearer)
        self._register = post % (b"register", b"")

    def digest(self, header: bytes) -> bytes:
        """Asks with the digest."""
        return self._digest % header

    def profile(self, token: bytes, body: bytes) -> bytes:
        """Asks with the whole profile."""
        return self._profile % (token, len(body), body)

    def reports(self, device: str, token: bytes, body: bytes) -> bytes:
        """Hands reports over."""
        return self._reports % (device.encode(), token, len(body), body)

    def register(self, device: str, enrol: str) -> bytes:
        """Asks for the device's token."""
        body = json.dumps({"id": device, "enrol": enrol}).encode()
        return self._register % (len(body), body)


Answer = tuple[bytes, bytes, bool]  # status, body, whether the server closes the connection


def answers(data: bytes) -> Iterator[tuple[Answer, int]]:
    """The whole answers that `data` begins with, each with the place of its end. Raises FleetError for what is no HTTP."""
    at = 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        status, stop = data[at + 9 : at + 12], end + 4
        if status == b"204":
            yield (status, b"", False), stop
        else:
            if data[at : at + 7] != b"HTTP/1.":
                raise FleetError(f"no answer of an HTTP server: {data[at : at + 60]!r}")
            found = _LENGTH.search(data, at, end)
            if found is None or int(found[1]) > _LONGEST:
                raise FleetError(f"an answer without a usable length: {data[at : at + 200]!r}")
            stop += int(found[1])
            if stop > len(data):
                return
            yield (status, data[end + 4 : stop], _CLOSED.search(data, at, end) is not None), stop
        at = stop
