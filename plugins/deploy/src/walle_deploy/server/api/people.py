"""Devices and why they get what they get; the audit log; the tokens of operators."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from walle_deploy.server.answers import ApiError
from walle_deploy.server.api.routing import Call, Operations, Page
from walle_deploy.server.auth import DEVICE_ID, MAX_DAYS, Role, TokenLine
from walle_deploy.server.types import AuditLine, Counts, DeviceInfo, Explanation
from walle_deploy.task.values import TASK_NAME

operations = Operations()


class DevicePage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, in the order of their ids."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=128)] = ""
    prefix: Annotated[str, Meta(max_length=128)] = ""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device and a task."""

    device: Annotated[str, Meta(pattern=DEVICE_ID)]
    task: Annotated[str, Meta(pattern=TASK_NAME + r"\Z")]


class AuditPage(Page, frozen=True, forbid_unknown_fields=True):
    """Which lines, newest first: with a text in them, or about one thing."""

    text: Annotated[str, Meta(max_length=200)] = ""
    what: Annotated[str, Meta(max_length=200)] = ""


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose token, for what, and for how long."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    role: Role
    days: Annotated[float, Meta(gt=0, le=MAX_DAYS)] = 90


class MadeToken(msgspec.Struct, frozen=True):
    """The token, which is shown this once."""

    id: int
    token: str


@operations.add("GET", "/devices", "read", query=DevicePage, returns=list[DeviceInfo])
def devices(call: Call) -> list[DeviceInfo]:
    """Lists devices."""
    return call.services.platform.devices(call.query.prefix, call.query.after, call.query.limit)


@operations.add("GET", "/devices/{device}", "read", returns=DeviceInfo)
def device(call: Call) -> DeviceInfo:
    """Shows a device as it described itself last."""
    return call.services.platform.device(call.place["device"])


@operations.add("GET", "/explain", "read", query=Question, returns=Explanation)
def explain(call: Call) -> Explanation:
    """Tells why a device gets a task, or does not."""
    return call.services.platform.explain(call.query.device, call.query.task)


@operations.add("GET", "/counts", "read", returns=Counts)
def counts(call: Call) -> Counts:
    """Shows the platform in numbers."""
    return call.services.platform.counts()


@operations.add("GET", "/audit", "read", query=AuditPage, returns=list[AuditLine])
def audit(call: Call) -> list[AuditLine]:
    """Lists who changed what."""
    query = call.query
    return call.services.platform.audit(query.limit, query.before, query.text, query.what)


@operations.add("GET", "/tokens", "admin", returns=list[TokenLine])
def tokens(call: Call) -> list[TokenLine]:
    """Lists the tokens, never what they are."""
    return call.services.tokens.lines()


@operations.add("POST", "/tokens", "admin", body=NewToken, returns=MadeToken, status=201)
def add_token(call: Call) -> MadeToken:
    """Makes a token, which is shown this once."""
    body = call.body
    number, token = call.services.tokens.make(body.name, body.role, body.days)
    what = f"number {number}, role {body.role}, {body.days:g} days"
    call.services.platform.note(call.who, "make token", f"token/{body.name}", what)
    return MadeToken(number, token)


@operations.add("DELETE", "/tokens/{token}", "admin", status=204)
def revoke_token(call: Call) -> None:
    """Ends a token."""
    number = call.place["token"]
    found = call.services.tokens.revoke(number)
    if found is None:
        raise ApiError(404, f"there is no token {number}", "GET /api/v1/tokens lists them")
    call.services.platform.note(call.who, "revoke token", f"token/{found.name}", f"number {number}")
