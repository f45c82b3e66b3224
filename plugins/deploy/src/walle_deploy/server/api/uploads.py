"""Files come in: streamed to a file without a name, compared with their digest, and only then put into the store."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from walle_deploy.deltas.contract import Delta
from walle_deploy.errors import StoreError
from walle_deploy.manifest import MAX_FILE
from walle_deploy.server.answers import ApiError, Receive, Scope, Send, header, reply
from walle_deploy.server.api.routing import Call, Operations
from walle_deploy.server.auth import DEVICE_ID
from walle_deploy.store.deltas_index import MAX_DELTAS, MAX_INDEX, DeltaIndex
from walle_deploy.store.files import CHUNK

UPLOADS = 16  # at a time in one worker

operations = Operations()


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The device whose exclusive file it is; none for a shared one."""

    device: Annotated[str, Meta(pattern=DEVICE_ID)] | None = None


@operations.add_raw("HEAD", "/files/{sha256}", "read", query=Whose)
async def has_file(call: Call, scope: Scope, receive: Receive, send: Send) -> None:
    """Tells whether a file is here, and its size."""
    size = await call.services.apart(call.services.store.size, call.place["sha256"], call.query.device or "")
    if size is None:
        raise ApiError(404, f"file {call.place['sha256']} is not here", "PUT it")
    about = [(b"content-length", b"%d" % size), (b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": about})
    await send({"type": "http.response.body", "body": b""})


@operations.add_raw("PUT", "/files/{sha256}", "operate", query=Whose, status=201)
async def put_file(call: Call, scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a file, which must be what its digest says."""
    services = call.services
    if services.uploads >= UPLOADS:
        raise ApiError(503, f"{UPLOADS} uploads are going on", "try again", wait=1)
    said = header(scope, b"content-length")
    if said is not None and (not said.isdigit() or int(said) > MAX_FILE):
        raise ApiError(413, f"a file of more than {MAX_FILE} bytes", "make it smaller")
    services.uploads += 1
    try:
        with tempfile.TemporaryFile(dir=services.settings.path("uploads")) as file:
            size = await _received(call, receive, file)
            file.seek(0)
            device = call.query.device or ""
            new = await services.apart(_put, call, size, file, device)
    except ConnectionError:
        raise
    except OSError as error:
        raise ApiError(
            507, f"the file cannot be kept: {error.strerror or error}", "free space on the server"
        ) from error
    finally:
        services.uploads -= 1
    await reply(
        send, 201 if new else 200, msgspec.json.encode({"sha256": call.place["sha256"], "size": size})
    )


async def _received(call: Call, receive: Receive, file: IO[bytes]) -> int:
    """Writes the body; its size. Raises ApiError unless it is what the path says."""
    digest, size, more, waiting = hashlib.sha256(), 0, True, bytearray()
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client went away")
        waiting += message.get("body", b"")
        more = bool(message.get("more_body"))
        if (size + len(waiting)) > MAX_FILE:
            raise ApiError(413, f"a file of more than {MAX_FILE} bytes", "make it smaller")
        if len(waiting) >= CHUNK or (waiting and not more):
            chunk, waiting = bytes(waiting), bytearray()
            size += len(chunk)
            if len(chunk) < CHUNK // 4:
                _write(file, digest, chunk)
            else:
                await call.services.apart(_write, file, digest, chunk)
    if digest.hexdigest() != call.place["sha256"]:
        raise ApiError(
            400,
            f"{size} bytes came whose digest is {digest.hexdigest()}, not {call.place['sha256']}",
            "send the file again; nothing was kept",
        )
    return size


def _write(file: IO[bytes], digest: Any, chunk: bytes) -> None:
    digest.update(chunk)
    file.write(chunk)


def _put(call: Call, size: int, file: IO[bytes], device: str) -> bool:
    """Puts a file whose digest was compared; whether it is new."""
    try:
        made = call.services.store._put(call.place["sha256"], size, file, device)
    except StoreError as error:
        raise ApiError(507, f"the file cannot be stored: {error}", "see the server's store") from error
    if made.new:
        what = f"{size} bytes" + (f" for {device}" if device else "")
        call.services.platform.note(call.who, "put file", f"file/{call.place['sha256']}", what)
    return made.new


@operations.add("GET", "/deltas/{sha256}", "read", returns=list[Delta])
def deltas(call: Call) -> list[Delta]:
    """Lists the deltas that lead to a shared file."""
    return list(DeltaIndex(call.services.store).get(call.place["sha256"]))


Deltas = Annotated[list[Delta], Meta(max_length=MAX_DELTAS)]


@operations.add("PUT", "/deltas/{sha256}", "operate", body=Deltas, returns=list[Delta], limit=MAX_INDEX)
def put_deltas(call: Call) -> list[Delta]:
    """Lists deltas, whose files are here, beside those that are listed already."""
    made = DeltaIndex(call.services.store).put(call.place["sha256"], call.body)
    call.services.platform.note(
        call.who, "put deltas", f"file/{call.place['sha256']}", f"{len(call.body)} deltas"
    )
    return list(made)
