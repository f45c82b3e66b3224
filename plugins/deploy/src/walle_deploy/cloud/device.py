"""A device fetches what the larger model says to its samples."""

from __future__ import annotations

import msgspec
import urllib3

from walle_deploy.cloud.values import CloudAnswer, Page
from walle_deploy.errors import CloudError

MAX_BODY = 4 << 20  # bytes
_decode = msgspec.msgpack.Decoder(Page).decode


class Answers:
    """Asks a `CloudApp`. Any thread may use it.

    Arguments:
        url: of the cloud's side, ``https://host``; plain http only to this machine itself.
        device, token: as they are shown to the deployment server.
        pool: connections, made if not given.
    """

    def __init__(self, url: str, device: str, token: str, pool: urllib3.PoolManager | None = None) -> None:
        self._url = url.rstrip("/") + "/walle/answers"
        parts = urllib3.util.parse_url(url)
        if parts.scheme != "https" and parts.host not in ("localhost", "127.0.0.1", "[::1]"):
            raise CloudError(f"{url}: the device's token would travel in the clear; use https")
        self._headers = {"Walle-Id": device, "Authorization": f"Bearer {token}"}
        self._pool = pool or urllib3.PoolManager(maxsize=1)

    def since(self, number: int, wait: float = 0.0) -> tuple[list[CloudAnswer], int]:
        """Answers with higher numbers, in order, and the number to ask with next: keep it when they are dealt with.

        Arguments:
            number: 0 at first.
            wait: seconds after which the server answers though there is nothing; at most 25.

        Raises CloudError; it may be tried again.
        """
        try:
            reply = self._pool.request(
                "GET",
                self._url,
                fields={"since": str(number), "wait": str(round(wait))},
                headers=self._headers,
                timeout=urllib3.Timeout(connect=5.0, read=wait + 20.0),
                preload_content=False,
                redirect=False,
                retries=False,
            )
            try:
                body = reply.read(MAX_BODY + 1)
            finally:
                reply.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CloudError(f"{self._url}: {error}"[:500]) from error
        if reply.status != 200 or len(body) > MAX_BODY:
            text = body[:200].decode("utf-8", "replace")
            raise CloudError(f"{self._url}: status {reply.status}, {len(body)} bytes: {text!r}")
        try:
            page = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CloudError(f"{self._url}: {error}") from error
        return page.answers, page.next
