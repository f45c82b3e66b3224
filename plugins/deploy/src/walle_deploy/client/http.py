"""Requests to a server: TLS, token, retries of what may be repeated, and errors that say what to do."""

from __future__ import annotations

import io
import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.util import Retry, Timeout

from walle_deploy.errors import DeployError

MAX_ANSWER = 64 << 20  # bytes of one answer
CONNECT_S, READ_S = 10.0, 60.0
JSON = "application/json"
_REPEATED = ("GET", "HEAD", "PUT", "DELETE")
_AGAIN = (429, 502, 503, 504)
_LONGEST_WAIT_S = 30.0
_BLOCK = 1 << 18  # bytes of an upload that are sent at a time
_HINTS = {
    401: "log in: `walle task login`, or set WALLE_TOKEN",
    403: "ask an administrator for a token of a role that may",
    413: "make it smaller",
    429: "wait a moment",
}


class ServerError(DeployError):
    """What a server refused, or that it cannot be reached.

    Attributes:
        status: HTTP status; 0 if there was no answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class _Retries(Retry):
    """Repeats whatever came too often, as nothing of it was done, and does not wait for as long as a server may say."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        too_often = status_code == 429 and has_retry_after and bool(self.total)
        return too_often or super().is_retry(method, status_code, has_retry_after)

    def get_retry_after(self, response: Any) -> float | None:
        wait = super().get_retry_after(response)
        return None if wait is None else min(wait, _LONGEST_WAIT_S)


class _Counted(io.BytesIO):
    """Content that tells how much of it is read; after a retry it goes back."""

    def __init__(self, data: bytes, sent: Callable[[int], None]) -> None:
        super().__init__(data)
        self._sent = sent

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._sent(len(chunk))
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        before = self.tell()
        at = super().seek(offset, whence)
        self._sent(at - before)
        return at


class Connection:
    """Requests below one URL. Thread-safe.

    Args:
        url: of the server: https, or http on this machine.
        token: of an operator; none for what is public.
        ca: file of certificates to trust instead of the system's.
        certificate: file of the client's certificate and its key, where the server asks for one.
        tries: of requests that may be repeated, and of connections.
        wait_s: before the third of them, twice that before the fourth, and so on up to some seconds.
        open_http: send the token unencrypted to other machines too.

    Raises ServerError for a URL that cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        ca: str | None = None,
        certificate: str | None = None,
        tries: int = 5,
        wait_s: float = 0.2,
        open_http: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        _check(self.url, open_http=open_http)
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ServerError("the token has characters that no token has; copy it again")
        self._headers = {"User-Agent": "walle-deploy", "Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        retries = _Retries(
            total=tries - 1,
            redirect=False,
            allowed_methods=_REPEATED,
            status_forcelist=_AGAIN,
            backoff_factor=wait_s / 2,
            backoff_max=5.0,
            backoff_jitter=wait_s / 2,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        try:
            self._pool = urllib3.PoolManager(
                maxsize=8,
                block=False,
                retries=retries,
                timeout=Timeout(connect=CONNECT_S, read=READ_S),
                blocksize=_BLOCK,
                ca_certs=ca,
                cert_file=certificate,
            )
        except ValueError as error:
            raise ServerError(f"{url}: {error}; give the server's URL as https://host") from error

    def close(self) -> None:
        """Closes its connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        kind: str = "application/octet-stream",
        value: Any = None,
        absent: bool = False,
        sent: Callable[[int], None] | None = None,
    ) -> bytes | None:
        """The body of the answer. Raises ServerError for any but a 2xx.

        Args:
            method: GET and such; POST is not repeated once it was sent, unless the server says that it came too soon.
            path: below the URL, with ``/`` in front.
            query: parameters; those that are None are left out.
            body: to send as it is.
            kind: media type of `body`.
            value: to send as JSON.
            absent: a 404 gives None.
            sent: called with the bytes of the body that went out; with a negative number if they must go again.
        """
        headers, content = dict(self._headers), body
        if value is not None:
            content = json.dumps(value).encode()
            headers["Content-Type"] = JSON
        elif body is not None:
            headers["Content-Type"] = kind
        source: Any = content
        if content is not None and sent is not None:
            source = _Counted(content, sent)
        if content is not None:
            headers["Content-Length"] = str(len(content))
        target = self._target(path, query)
        try:
            answer = self._pool.request(method, target, body=source, headers=headers, preload_content=False)
            try:
                data: bytes = answer.read(MAX_ANSWER + 1)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _unreached(self.url, method, error) from error
        if len(data) > MAX_ANSWER:
            raise ServerError(f"{target}: an answer of more than {MAX_ANSWER} bytes; is this the right URL?")
        if absent and answer.status == 404:
            return None
        if not 200 <= answer.status < 300:
            raise _refused(method, target, answer.status, data)
        return data

    def lines(self, path: str, idle_s: float = READ_S) -> Iterator[str]:
        """Lines of an answer that does not end, as they come. Raises ServerError, also if none came for `idle_s`."""
        target = self._target(path, None)
        headers = {**self._headers, "Accept": "text/event-stream"}
        try:
            answer = self._pool.request(
                "GET",
                target,
                headers=headers,
                preload_content=False,
                timeout=Timeout(connect=CONNECT_S, read=idle_s),
            )
            try:
                if answer.status != 200:
                    raise _refused("GET", target, answer.status, answer.read(1 << 16))
                yield from _lines(answer)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreached(self.url, "GET", error) from error

    def _target(self, path: str, query: Mapping[str, Any] | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self.url + path + (f"?{urlencode(given)}" if given else "")


def printable(text: str) -> str:
    """A text of others that a terminal shows and does not obey: without control characters."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def part(text: str | int) -> str:
    """A text as one part of a path."""
    return quote(str(text), safe="")


def _check(url: str, *, open_http: bool) -> None:
    try:
        found = urlsplit(url)
        host, _ = found.hostname or "", found.port
    except ValueError as error:
        raise ServerError(f"{url!r:.200}: no URL: {error}") from error
    if found.scheme not in {"http", "https"} or not host or found.query or found.fragment or found.username:
        raise ServerError(f"{url!r:.200}: no URL of a server; wanted one like https://walle.example.com")
    if found.scheme == "http" and not open_http and not _here(host):
        raise ServerError(
            f"{url}: http would show the token to everyone on the way; use https, or WALLE_OPEN_HTTP=1 on a closed network"
        )


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _lines(answer: Any) -> Iterator[str]:
    rest = b""
    while chunk := answer.read1(1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
        if len(rest) > MAX_ANSWER:
            return


def _refused(method: str, target: str, status: int, data: bytes) -> ServerError:
    """The server's own words, if it has any."""
    try:
        said = json.loads(data)
        error, fix = printable(str(said["error"])), printable(str(said.get("fix") or ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        error, fix = f"{target}: {method} was answered with {status}", ""
    fix = _HINTS[401] if status == 401 else fix or _HINTS.get(status, "")  # the server speaks to programs
    return ServerError(f"{error}; {fix}" if fix else error, status)


def _unreached(url: str, method: str, error: Exception) -> ServerError:
    cause = error
    while isinstance(cause, urllib3.exceptions.MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.SSLError):
        why = "if the certificate is your own, name it with WALLE_CA or git config deploy.ca"
    elif isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
        why = "is it running, and is WALLE_SERVER right?"
    elif method in _REPEATED:
        why = "try again"
    else:
        why = "it may or may not have been done: look with `walle task status` before you repeat it"
    return ServerError(f"{url}: cannot be reached: {type(cause).__name__}: {_short(cause)}; {why}")


def _short(error: Exception) -> str:
    return str(error).split(": ", 1)[-1][:300]
