"""How a device reads a URL from some byte on; any HTTP client that the app has can take the place of this one."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from walle_deploy.errors import StoreError

_READ = 64 << 10
_AGAIN = frozenset({408, 425, 429})  # the statuses below 500 that may be gone at the next try


class Transport(Protocol):
    """Reads URLs."""

    def read(self, url: str, offset: int) -> Iterator[bytes]:
        """The content from byte `offset` on; a consumer may stop early and close the iterator.

        It may end early. Raises OSError for what another try may cure, StoreError for what it may not.
        """


class UrlTransport:
    """By `urllib`, with Range requests. Proxies are those of the environment.

    Args:
        timeout_s: for a connection, and for each piece that is read.
        schemes: of URLs that are read; ``file`` is for stores on the same machine.
    """

    def __init__(self, timeout_s: float = 20.0, schemes: Collection[str] = ("https", "http")) -> None:
        self._timeout_s = timeout_s
        self._schemes = frozenset(schemes)

    def read(self, url: str, offset: int) -> Iterator[bytes]:
        """See `Transport`."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        try:
            if urlsplit(url).scheme not in self._schemes:
                raise StoreError(f"{url}: only {', '.join(sorted(self._schemes))} URLs are read")
            request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked above
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                skip = offset - _start(answer, offset)
                while chunk := answer.read1(_READ):  # what is there, so that a slow server meets the deadline
                    if skip < len(chunk):
                        yield chunk[max(skip, 0) :]
                    skip -= len(chunk)
        except urllib.error.HTTPError as error:
            with error:
                if error.code < 500 and error.code not in _AGAIN:
                    raise StoreError(f"{url}: the server answers {error.code} {error.reason}") from error
                raise
        except http.client.HTTPException as error:  # among them answers that end early
            raise OSError(f"{url}: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise StoreError(f"{url}: {error}") from error


def _start(answer: http.client.HTTPResponse, offset: int) -> int:
    """Where the content of an answer begins. Raises StoreError if that is beyond `offset`."""
    if not offset or answer.status != http.client.PARTIAL_CONTENT:
        return 0
    said = answer.headers.get("Content-Range", "").removeprefix("bytes").strip().partition("-")[0]
    if not said.isascii() or not said.isdigit() or int(said) > offset:
        raise StoreError(f"{answer.url}: the server sends another range than bytes {offset}-")
    return int(said)
