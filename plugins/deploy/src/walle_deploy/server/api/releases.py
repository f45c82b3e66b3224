"""Releases: begun, watched, approved, paused, rolled back."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from walle_deploy.server.answers import ApiError
from walle_deploy.server.api.routing import Call, Operations, Page, Reason, Table, Why
from walle_deploy.server.types import Point, ReleaseInfo
from walle_deploy.task.values import TASK_NAME

operations = Operations()


class NewRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version and the plan by which it is released."""

    version: Annotated[int, Meta(ge=1, lt=2**31)]
    plan: Table


class Made(msgspec.Struct, frozen=True):
    """The number of what was made."""

    id: int


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a simulation ended."""

    passed: bool
    why: Why = ""


class ReleasePage(Page, frozen=True, forbid_unknown_fields=True):
    """Which releases, newest first."""

    task: Annotated[str, Meta(pattern=TASK_NAME + r"\Z")] | None = None


@operations.add("POST", "/tasks/{task}/releases", "operate", body=NewRelease, returns=Made, status=201)
def create_release(call: Call) -> Made:
    """Begins to release a version whose image is published."""
    name, number = call.place["task"], call.body.version
    found = call.services.images.listed(name, number)
    if found is None:
        call.services.platform.manifest(name, number)
        raise ApiError(
            409,
            f"{name} v{number}: its image is not published, so every device would refuse it",
            f"POST /api/v1/images/{name}/{number}/stage, sign, and publish",
        )
    if found.revoked:
        raise ApiError(
            409, f"{name} v{number}: its image is revoked: {found.revoked}", "release another version"
        )
    return Made(call.services.platform.create_release(name, number, call.body.plan, call.who))


@operations.add("GET", "/releases", "read", query=ReleasePage, returns=list[ReleaseInfo])
def releases(call: Call) -> list[ReleaseInfo]:
    """Lists releases, of one task or all."""
    return call.services.platform.releases(call.query.task, call.query.limit, call.query.before)


@operations.add("GET", "/releases/{release}", "read", returns=ReleaseInfo)
def release(call: Call) -> ReleaseInfo:
    """Shows a release with all that is known of it."""
    return call.services.platform.release(call.place["release"])


@operations.add("GET", "/releases/{release}/curve", "read", returns=list[Point])
def curve(call: Call) -> list[Point]:
    """Shows coverage and failures over time."""
    return call.services.platform.curve(call.place["release"])


@operations.add("POST", "/releases/{release}/simulated", "operate", body=Simulation, status=204)
def simulated(call: Call) -> None:
    """Tells how the simulation ended."""
    body = call.body
    call.services.platform.simulated(call.place["release"], body.passed, body.why, call.who)


@operations.add("POST", "/releases/{release}/approve", "approve", body=Reason, status=204)
def approve(call: Call) -> None:
    """Approves what the current stage has shown."""
    role = call.operator.role
    call.services.platform.approve(call.place["release"], call.who, role, call.body.why)


@operations.add("POST", "/releases/{release}/pause", "operate", body=Reason, status=204)
def pause(call: Call) -> None:
    """Lets nobody new get the version, until it is resumed."""
    call.services.platform.pause(call.place["release"], call.who, call.body.why)


@operations.add("POST", "/releases/{release}/resume", "operate", body=Reason, status=204)
def resume(call: Call) -> None:
    """Ends a pause."""
    call.services.platform.resume(call.place["release"], call.who, call.body.why)


@operations.add("POST", "/releases/{release}/rollback", "operate", body=Reason, status=204)
def rollback(call: Call) -> None:
    """Brings all devices back to the version before."""
    call.services.platform.rollback(call.place["release"], call.who, call.body.why)
