"""The tunnel without asyncio: a daemon thread owns the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from walle_pipeline.errors import TunnelError
from walle_pipeline.tunnel.client import TunnelClient
from walle_pipeline.tunnel.dictionary import Dictionary
from walle_pipeline.tunnel.outbox import Outbox


class Tunnel:
    """Delivers payloads to a server, from any thread.

    For example::

        with Tunnel("wss://host/tunnel", device="d1", token="...", outbox="outbox.db") as tunnel:
            tunnel.send("ipv", payload)

    Arguments:
        outbox: path of the outbox, or an `Outbox`, which is then the caller's to close.
        close_timeout: seconds that `close` goes on delivering; what is left stays in the outbox for the next start.
        options: the other arguments of `TunnelClient`.

    Raises StoreError if the outbox cannot be opened. An unreachable server is no error.
    """

    def __init__(
        self,
        url: str,
        *,
        device: str,
        token: str | Callable[[], str],
        outbox: str | os.PathLike[str] | Outbox,
        close_timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self._owned = not isinstance(outbox, Outbox)
        self.outbox = outbox if isinstance(outbox, Outbox) else Outbox(outbox)
        self._close_timeout = close_timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tunnel", daemon=True)
        try:
            self.client = TunnelClient(url, device=device, token=token, outbox=self.outbox, **options)
            self._thread.start()
            self._run(self.client.start())
        except BaseException:
            self.close()
            raise

    def send(self, stream: str, payload: bytes, unique_key: str | None = None) -> int:
        """Puts a payload into the outbox, durable when it returns; the seq, see `Outbox.put_many` for it and errors."""
        return self.outbox.put(stream, payload, unique_key)

    def send_many(self, items: list[tuple[str, bytes, str | None]]) -> list[int]:
        """Several (stream, payload, unique key or None), all or none, for the price of one."""
        return self.outbox.put_many(items)

    def use(self, stream: str, dictionary: Dictionary | None) -> None:
        """See `TunnelClient.use`."""
        self._loop.call_soon_threadsafe(self.client.use, stream, dictionary)

    def flush(self, timeout: float = 10.0) -> None:
        """Waits until everything sent before is durable at the server; raises TunnelError, see `TunnelClient.flush`."""
        self._run(self.client.flush(timeout))

    def close(self) -> None:
        """Delivers for at most `close_timeout` seconds more and ends; calling it again does nothing."""
        if self._loop.is_closed():
            return
        try:
            if self._thread.ident is not None:
                self._run(self.client.stop(self._close_timeout))
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
        finally:
            if not self._loop.is_running():
                self._loop.close()
            if self._owned:
                self.outbox.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop.is_closed():
            work.close()
            raise TunnelError("the tunnel is closed")
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
