"""What devices ask: whether there is something new, by digest or by profile; and what they tell: reports, and who they are."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from binascii import a2b_base64
from time import perf_counter
from typing import Annotated, Any

import msgspec

from walle_deploy.errors import PolicyError
from walle_deploy.profile import DIGEST_BYTES, Profile
from walle_deploy.server.answers import (
    ApiError,
    Receive,
    Scope,
    Send,
    bearer,
    decoded,
    header,
    read_body,
    refuse,
    reply,
)
from walle_deploy.server.auth import DEVICE_ID, device_token, is_device_token
from walle_deploy.server.gathering import Gathering
from walle_deploy.server.limits import Buckets
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.services import Services
from walle_deploy.server.types import DeviceReport

MAX_BODY = 64 << 10
MAX_REPORTS = 256
MAX_NONCE = 32
MAX_REGISTRATION = 4096
PER_S, AT_ONCE = 1.0, 30  # checks of one device, and likewise its requests with reports

_URLSAFE = bytes.maketrans(b"-_+/", b"+/--")  # what is base64 but not base64url becomes invalid
_NONCE = re.compile(r"[A-Za-z0-9_-]{2,43}")
_QUIET: dict[str, Any] = {"type": "http.response.start", "status": 204, "headers": []}
_ASK: dict[str, Any] = {"type": "http.response.start", "status": 428, "headers": [(b"content-length", b"0")]}
_STALE: dict[str, Any] = {
    "type": "http.response.start",
    "status": 503,
    "headers": [(b"retry-after", b"1"), (b"content-length", b"0")],
}
_END: dict[str, Any] = {"type": "http.response.body", "body": b""}
_RESULTS = {429: "limited", 503: "busy"}
_ANSWER = b"application/vnd.walle.answer"


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """What a device says when it registers."""

    id: Annotated[str, msgspec.Meta(pattern=DEVICE_ID)]
    enrol: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class WireReport(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """One report as it comes."""

    number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    version: Annotated[str, msgspec.Meta(pattern=r"^v[1-9][0-9]{0,9}\Z")] | None
    failed: bool
    values: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=200)], float], msgspec.Meta(max_length=64)
    ] = {}
    why: Annotated[str, msgspec.Meta(max_length=4096)] = ""


_registration = msgspec.json.Decoder(Registration).decode
_reports = msgspec.msgpack.Decoder(
    Annotated[list[WireReport], msgspec.Meta(min_length=1, max_length=MAX_REPORTS)]
).decode


class Devices:
    """The paths ``/walle/check``, ``/walle/reports`` and ``/walle/register`` of one worker."""

    def __init__(self, services: Services) -> None:
        self._services, self._platform = services, services.platform
        self._counts, self._metrics = services.metrics.counts["checks"], services.metrics
        self._secret = services.secret
        self._gathering = Gathering(services.platform)
        self._checks = Buckets(PER_S, AT_ONCE)
        self._reports = Buckets(PER_S, AT_ONCE)

    async def check_digest(self, scope: Scope, send: Send) -> None:
        """``GET /walle/check``: 204, or 428 if the profile is wanted."""
        start = perf_counter()
        value = header(scope, b"walle-profile") or b""
        try:
            digest = (
                a2b_base64(value.translate(_URLSAFE) + b"=", strict_mode=True) if len(value) == 11 else b""
            )
        except Base64Error:
            digest = b""
        if len(digest) != DIGEST_BYTES:
            self._counts["digest refused"] += 1
            what = "the header Walle-Profile is missing or is not 11 characters of base64url"
            await refuse(scope, send, ApiError(400, what, "send Profile.header()"))
            return
        try:
            quiet = self._platform.check_digest(digest)
        except BusyError:
            self._counts["digest busy"] += 1
            await send(_STALE)
        else:
            self._counts["digest quiet" if quiet else "digest ask"] += 1
            await send(_QUIET if quiet else _ASK)
        await send(_END)
        self._metrics.digest.add(perf_counter() - start)

    async def check(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /walle/check``: 204, or 200 with the signed answer."""
        start = perf_counter()
        try:
            if scope["method"] != "POST":
                raise ApiError(405, f"{scope['method']} is not allowed here", "use GET or POST")
            profile = self._profile(scope, await read_body(scope, receive, MAX_BODY))
            nonce = _nonce(scope)
            answer = await self._gathering.check(profile, nonce)
        except ConnectionError:
            return
        except Exception as error:
            await self._refused_check(scope, send, error)
            return
        if answer is None:
            self._counts["profile quiet"] += 1
            await send(_QUIET)
            await send(_END)
        else:
            self._counts["profile answer"] += 1
            await reply(send, 200, answer, _ANSWER)
        self._metrics.profile.add(perf_counter() - start)

    def _profile(self, scope: Scope, body: bytes) -> Profile:
        """The profile of a device that has proven to be the one it names. Raises DeployError."""
        profile = Profile.read(body)
        self._admit(scope, profile.id, self._checks)
        if profile.canonical != body:
            raise PolicyError("profile: is not in its canonical form; send Profile.canonical")
        return profile

    def _admit(self, scope: Scope, device: str, buckets: Buckets) -> None:
        """Raises ApiError unless the token is the device's, and comes not too often."""
        if not is_device_token(self._secret, device, bearer(scope)):
            # Never 429: devices behind one proxy have one address, and all must learn that a new secret made theirs void.
            self._metrics.count("refused_tokens", "device")
            raise ApiError(401, "the token is not this device's", "register the device: POST /walle/register")
        if wait := buckets.wait(device):
            raise ApiError(429, "this device asks too often", "wait; at most one request a second", wait)

    async def _refused_check(self, scope: Scope, send: Send, error: Exception) -> None:
        status = await refuse(scope, send, error)
        self._counts[f"profile {_RESULTS.get(status, 'refused')}"] += 1

    async def report(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /walle/reports``: 204 once the reports are on the disk."""
        start, device = perf_counter(), ""
        try:
            if scope["method"] != "POST":
                raise ApiError(405, f"{scope['method']} is not allowed here", "use POST")
            device = (header(scope, b"walle-id") or b"").decode("latin-1")
            self._admit(scope, device, self._reports)
            reports = _read_reports(await read_body(scope, receive, MAX_BODY))
            await asyncio.wrap_future(self._platform.begin_report(device, reports))
        except ConnectionError:
            return
        except Exception as error:
            self._metrics.count("reports", "busy" if isinstance(error, BusyError) else "refused")
            await refuse(scope, send, error, device)
        else:
            self._metrics.count("reports", "taken", by=len(reports))
            await send(_QUIET)
            await send(_END)
            self._metrics.report.add(perf_counter() - start)

    async def register(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /walle/register``: the device's token, for who knows an enrolment secret."""
        try:
            if scope["method"] != "POST":
                raise ApiError(405, f"{scope['method']} is not allowed here", "use POST")
            body = await read_body(scope, receive, MAX_REGISTRATION)
            asked = decoded(_registration, body, "no registration")
            await self._services.enrolment(asked.enrol, (scope.get("client") or ("",))[0])
        except ConnectionError:
            return
        except Exception as error:
            self._metrics.count("registrations", "refused")
            await refuse(scope, send, error)
        else:
            self._metrics.count("registrations", "done")
            token = {"token": device_token(self._secret, asked.id)}
            await reply(send, 200, msgspec.json.encode(token), headers=[(b"cache-control", b"no-store")])


def _nonce(scope: Scope) -> bytes:
    value = header(scope, b"walle-nonce")
    if value is None:
        return b""
    text = value.decode("latin-1")
    made = urlsafe_b64decode(text + "==") if _NONCE.fullmatch(text) and len(text) % 4 != 1 else b""
    if not 0 < len(made) <= MAX_NONCE:
        raise ApiError(
            400, f"the header Walle-Nonce is not base64url of 1 to {MAX_NONCE} bytes", "send another"
        )
    return made


def _read_reports(body: bytes) -> list[DeviceReport]:
    found = decoded(_reports, body, "no list of reports [[number, task, version, failed, values, why], ...]")
    return [DeviceReport(r.number, r.task, r.version, r.failed, r.values, r.why) for r in found]
