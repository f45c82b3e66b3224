"""What devices pull: image metadata, files by digest with ranges, and lists of deltas. Never a path that was not checked."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import obstore

from walle_deploy.server.answers import ApiError, Receive, Scope, Send, disconnected, header, refuse, reply
from walle_deploy.server.metrics import Metrics
from walle_deploy.store.deltas_index import DeltaIndex
from walle_deploy.store.files import CHUNK, FileStore

_OBJECT = re.compile(r"(files|devices/[0-9a-f]{64})/([0-9a-f]{2})/([0-9a-f]{62})")
_DELTAS = re.compile(r"deltas/([0-9a-f]{64})")
_IMAGE = re.compile(
    r"images/((?:metadata|targets)/[a-z0-9][a-z0-9_.-]{0,150}(?:/[a-z0-9][a-z0-9_.-]{0,150}){0,5})"
)
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")

_FOREVER = (b"cache-control", b"public, max-age=31536000, immutable")
_SHORTLY = (b"cache-control", b"no-cache")
_KEPT, _KEPT_BYTES = 256, 1 << 20  # files of image metadata in memory, and the largest
_OCTETS = b"application/octet-stream"


class Files:
    """The read-only paths below ``/walle/``, as an ASGI callable.

    Args:
        store: of the files.
        images: folder of the image repository.
        metrics: that count what is sent.
    """

    def __init__(self, store: FileStore, images: Path, metrics: Metrics) -> None:
        self._store, self._images, self._metrics = store, images, metrics
        self._deltas = DeltaIndex(store)
        self._kept: OrderedDict[str, tuple[tuple[int, int, int], bytes]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope["path"][len("/walle/") :]
        try:
            if scope["method"] not in {"GET", "HEAD"}:
                raise ApiError(405, f"{scope['method']} is not allowed here", "use GET")
            if found := _OBJECT.fullmatch(path):
                await self._object(scope, receive, send, path, found[2] + found[3])
            elif found := _IMAGE.fullmatch(path):
                await self._image(scope, send, found[1])
            elif found := _DELTAS.fullmatch(path):
                await self._list(scope, send, found[1])
            else:
                raise ApiError(
                    404, f"there is no {scope['path'][:200]!r}", "see the documentation of the paths"
                )
        except Exception as error:  # obstore's errors have no common base
            await refuse(scope, send, error)

    async def _object(self, scope: Scope, receive: Receive, send: Send, key: str, digest: str) -> None:
        tag = b'"%s"' % digest.encode()
        headers = [(b"etag", tag), _FOREVER, (b"accept-ranges", b"bytes")]
        if header(scope, b"if-none-match") == tag:
            await reply(send, 304, headers=headers)
            return
        wanted = _range(scope, tag)
        try:
            options: Any = {} if wanted is None else {"range": wanted}
            found = await obstore.get_async(self._store.objects, key, options=options)
        except FileNotFoundError:
            raise ApiError(404, f"file {digest} is not here", "ask for what the manifest names") from None
        except Exception:
            if wanted is None or not await self._beyond(key, wanted):
                raise
            found = None
        if found is None or (wanted is not None and found.range[1] <= found.range[0]):
            raise ApiError(416, f"file {digest} has no such bytes", "ask for bytes that it has")
        start, end = found.range
        size, status = found.meta["size"], 200
        if wanted is not None:
            status = 206
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        headers += [(b"content-type", _OCTETS), (b"content-length", b"%d" % (end - start))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if scope["method"] == "GET":
            await self._stream(found, receive, send)
            self._metrics.count("file_bytes", key.split("/", 1)[0], by=end - start)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, found: Any, receive: Receive, send: Send) -> None:
        """Sends the content, for as long as somebody reads it."""
        gone = asyncio.create_task(disconnected(receive))
        try:
            async for chunk in found.stream(min_chunk_size=CHUNK):
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        finally:
            gone.cancel()

    async def _beyond(self, key: str, wanted: Any) -> bool:
        """Whether a range begins after the end of its file."""
        size = (await obstore.head_async(self._store.objects, key))["size"]
        start = wanted[0] if isinstance(wanted, tuple) else wanted.get("offset", 0)
        return bool(start >= size)

    async def _image(self, scope: Scope, send: Send, name: str) -> None:
        try:
            mark, data = self._read(name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ApiError(
                404, f"image metadata has no {name!r}", "see timestamp.json for what there is"
            ) from None
        tag = b'"%x-%x"' % mark[:2]
        headers: list[tuple[bytes, bytes]] = [(b"etag", tag), _SHORTLY if "timestamp" in name else _FOREVER]
        if header(scope, b"if-none-match") == tag:
            await reply(send, 304, headers=headers)
            return
        kind = b"application/json" if name.endswith(".json") else _OCTETS
        self._metrics.count("file_bytes", "images", by=len(data))
        await reply(send, 200, data, kind, headers, head=scope["method"] == "HEAD")

    def _read(self, name: str) -> tuple[tuple[int, int, int], bytes]:
        """A file of the repository, from memory if it is the same as before."""
        path = self._images / name
        about = path.stat()
        mark = (about.st_mtime_ns, about.st_size, about.st_ino)
        kept = self._kept.get(name)
        if kept is not None and kept[0] == mark:
            self._kept.move_to_end(name)
            return kept
        made = (mark, path.read_bytes())
        if len(made[1]) <= _KEPT_BYTES:
            self._kept[name] = made
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    async def _list(self, scope: Scope, send: Send, digest: str) -> None:
        try:
            found = await obstore.get_async(self._store.objects, self._deltas.key(digest))
            data = bytes(await found.bytes_async())
        except FileNotFoundError:
            data = b"[]"
        await reply(send, 200, data, headers=[_SHORTLY], head=scope["method"] == "HEAD")


def _range(scope: Scope, tag: bytes) -> Any:
    """What obstore takes for the range that is asked for; None for the whole file, also if that is all that can be done."""
    value = header(scope, b"range")
    condition = header(scope, b"if-range")
    if value is None or (condition is not None and condition != tag):
        return None
    found = _RANGE.fullmatch(value.decode("latin-1").replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return {"suffix": int(last)}
    if not last:
        return {"offset": int(first)}
    return (int(first), int(last) + 1) if int(first) <= int(last) else None
