"""What a device asks the server, over HTTP: registration, checks, reports. Every answer has an end to its size and time."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import attrs
import msgspec
import urllib3

from walle_deploy.agent.errors import AgentError, AwayError
from walle_deploy.agent.journal import Outcome
from walle_deploy.profile import HEADER, Profile
from walle_deploy.trust.answer import MAX_ANSWER
from walle_deploy.trust.fetch import before

MAX_REPORTS = 256  # of one request
MAX_BODY = 60 << 10  # bytes of one request's reports
_CONNECT_S, _READ_S = 5.0, 20.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_encode = msgspec.msgpack.Encoder().encode


@attrs.frozen
class Answered:
    """An HTTP answer: status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """The server of a fleet, as one device sees it. Any thread may call any method.

    Args:
        url: ``https://host[:port]``, perhaps with a path before ``/walle``; plain http only to this machine itself, unless
            `plain` allows it: tokens would travel in the clear.
        pool: connections, made if not given.
        seconds: for one request with its answer.

    Raises AgentError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        pool: urllib3.PoolManager | None = None,
        seconds: float = 30.0,
        plain: bool = False,
    ) -> None:
        try:
            parts = urlsplit(url)
            host, scheme = parts.hostname, parts.scheme
            _ = parts.port
        except ValueError as error:
            raise AgentError(f"{url!r} is no URL of a server: {error}") from error
        if scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise AgentError(f"{url!r} is no URL of a server; wanted one like https://walle.example")
        if scheme == "http" and host not in _LOOPBACK and not plain:
            raise AgentError(f"{url}: the device's token would travel in the clear; use https")
        self.url = url.rstrip("/")
        self._pool = pool or urllib3.PoolManager(maxsize=2)
        self._seconds = seconds

    def register(self, device: str, enrol: str) -> str:
        """The device's token. Raises AgentError if the server refuses the secret, AwayError if it is to be tried later."""
        body = json.dumps({"id": device, "enrol": enrol}).encode()
        found = self._ask("POST", "/walle/register", body, {"Content-Type": "application/json"})
        if found.status in (401, 403):
            raise AgentError(f"{self.url} refuses the enrolment secret: ask the operator for a new one")
        if found.status == 200:
            try:
                token = json.loads(found.body)["token"]
                if (
                    isinstance(token, str)
                    and 0 < len(token) <= 256
                    and token.isascii()
                    and token.isprintable()
                ):
                    return token
            except (ValueError, KeyError, TypeError, RecursionError):
                pass
        raise self._unexpected(found, "/walle/register")

    def wants_profile(self, profile: Profile) -> bool:
        """Asks with the digest only: whether the server must see the whole profile. Raises AwayError."""
        found = self._ask("GET", "/walle/check", None, {HEADER: profile.header()})
        if found.status in (204, 428):
            return found.status == 428
        raise self._unexpected(found, "/walle/check")

    def check(self, profile: Profile, token: str, nonce: bytes) -> bytes | None:
        """The answer to a whole profile, not verified; None if nothing is new. Raises AwayError; its status is 401 for a
        token that is not good any more.
        """
        text = base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()
        headers = {"Authorization": f"Bearer {token}", "Walle-Nonce": text}
        found = self._ask("POST", "/walle/check", profile.canonical, headers)
        if found.status in (200, 204):
            return found.body if found.status == 200 else None
        raise self._unexpected(found, "/walle/check")

    def report(self, outcomes: Sequence[Outcome], device: str, token: str) -> None:
        """Hands reports of a device over, durable at the server when it returns. Raises AwayError."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Walle-Id": device,
            "Content-Type": "application/msgpack",
        }
        found = self._ask("POST", "/walle/reports", _encode(outcomes), headers)
        if found.status not in (200, 204):
            raise self._unexpected(found, "/walle/reports")

    def _unexpected(self, found: Answered, path: str) -> AwayError:
        text = found.body[:200].decode("utf-8", "replace").strip()
        said = "".join(sign if sign.isprintable() else " " for sign in text)
        after = found.headers.get("retry-after", "")
        wait = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None
        return AwayError(f"{self.url}{path}: HTTP status {found.status} {said}".rstrip(), found.status, wait)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answered:
        """An answer, whatever its status. Raises AwayError."""
        head: list[tuple[int, dict[str, str]]] = []

        def pieces() -> object:
            answer = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
            try:
                head.append((answer.status, {k.lower(): v for k, v in answer.headers.items()}))
                size = 0
                while piece := answer.read1(1 << 14, decode_content=False):
                    yield piece
                    size += len(piece)
                    if size > MAX_ANSWER:
                        return
                answer.release_conn()
            finally:
                answer.close()

        taken = bytearray()
        try:
            for piece in before(time.monotonic() + self._seconds, pieces):  # type: ignore[arg-type]
                taken += piece
        except TimeoutError as error:
            raise AwayError(f"{self.url}{path}: no whole answer after {self._seconds:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError, LookupError) as error:
            raise AwayError(f"{self.url}{path}: {error}") from error
        if len(taken) > MAX_ANSWER:
            raise AwayError(f"{self.url}{path}: an answer of more than {MAX_ANSWER} bytes")
        status, found = head[0]
        return Answered(status, found, bytes(taken))
