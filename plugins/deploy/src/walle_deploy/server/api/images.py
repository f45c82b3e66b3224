"""Image metadata: staged for signatures that are made where the keys are, and published."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from walle_deploy.client.types import Proposal
from walle_deploy.server.api.routing import Call, Operations, Reason

operations = Operations()


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature in hex over what was staged, by the key of this TUF id."""

    role: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}\Z")]
    keyid: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    signature: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,256}\Z")]


class Staged(msgspec.Struct, frozen=True):
    """Roles that wait, and how many of their signatures they have, as "1 of 2"."""

    staged: dict[str, str]


class Published(msgspec.Struct, frozen=True):
    """Versions that devices find from now on, as ``task v3``."""

    versions: list[str]


class Expiry(msgspec.Struct, frozen=True):
    """When each published role expires, in Unix seconds, and what waits for signatures."""

    expires: dict[str, float]
    staged: dict[str, str]


@operations.add("GET", "/images", "read", returns=Expiry)
def images(call: Call) -> Expiry:
    """Shows when the image metadata expires, and what is staged."""
    return Expiry(call.services.images.expires(), call.services.images.staged())


@operations.add("POST", "/images/{task}/{number}/stage", "operate", returns=Proposal | None)
def stage(call: Call) -> Proposal | None:
    """Lists a version in the next metadata of its role; 204 if the published one lists it."""
    name, number = call.place["task"], call.place["number"]
    made = call.services.images.stage(name, number, call.services.platform.manifest(name, number))
    if made is None:
        call.services.platform.published(name, number, call.who)
        return None
    call.services.platform.note(call.who, "stage image", f"version/{name}/{number}", f"role {made.role}")
    return made


@operations.add("POST", "/images/{task}/{number}/revoke", "operate", body=Reason, returns=Proposal)
def revoke_image(call: Call) -> Proposal:
    """Lists a version as revoked in the next metadata of its role."""
    name, number = call.place["task"], call.place["number"]
    call.services.platform.manifest(name, number)
    made = call.services.images.revoke(name, number, call.body.why)
    call.services.platform.note(call.who, "stage revocation", f"version/{name}/{number}", call.body.why)
    return made


@operations.add("POST", "/images/renew/{role}", "operate", returns=Proposal)
def renew(call: Call) -> Proposal:
    """Stages what is published of a role again, to be signed before it expires."""
    role = call.place["role"]
    made = call.services.images.renew(role)
    call.services.platform.note(call.who, "stage renewal", f"image/{role}", "")
    return made


@operations.add("POST", "/images/sign", "operate", body=Signature, returns=Staged)
def sign(call: Call) -> Staged:
    """Adds a signature to what is staged."""
    body = call.body
    counts = call.services.images.sign(body.role, body.keyid, bytes.fromhex(body.signature))
    call.services.platform.note(
        call.who, "sign image", f"image/{body.role}", f"key {body.keyid[:16]}, {counts}"
    )
    return Staged(call.services.images.staged())


@operations.add("POST", "/images/publish", "operate", returns=Published)
def publish(call: Call) -> Published:
    """Shows devices what is staged and fully signed."""
    if call.services.images.staged():  # else somebody has just published it
        call.services.images.publish()
    there = call.services.images.versions()  # another's too: staging beside it may have published it
    made = sorted(each for each in call.services.platform.unpublished() if each in there)
    for name, number in made:
        call.services.platform.published(name, number, call.who)
    call.services.platform.note(call.who, "publish images", "image/targets", f"{len(made)} new versions")
    return Published([f"{name} v{number}" for name, number in made])
