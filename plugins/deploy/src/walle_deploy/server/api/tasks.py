"""Tasks, the versions they have, and segments: policies with a name."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from walle_deploy.errors import TrustError
from walle_deploy.manifest import MAX_BYTES, Manifest
from walle_deploy.server.answers import ApiError
from walle_deploy.server.api.routing import Call, Operations, Reason, Table
from walle_deploy.server.types import TaskInfo, VersionInfo
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.tags import MAX_TAG, parse_tag, verify_parsed
from walle_deploy.task.values import TASK_NAME

operations = Operations()


class NewTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task for those that a policy means."""

    name: Annotated[str, Meta(pattern=TASK_NAME + r"\Z")]
    policy: Table


class NewPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom something is for."""

    policy: Table


class NewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version: its signed tag as git keeps it, and its manifest, whose files are in the store already."""

    number: Annotated[int, Meta(ge=1, le=999_999_999)]
    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
    message: Annotated[str, Meta(max_length=MAX_TAG)]
    tag_object: Annotated[bytes, Meta(max_length=MAX_TAG)]
    manifest: Annotated[bytes, Meta(max_length=MAX_BYTES)]
    tagger: Annotated[str, Meta(max_length=1000)] = ""


class TaskPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks, in the order of their names."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    after: Annotated[str, Meta(max_length=64)] = ""


@operations.add("GET", "/tasks", "read", query=TaskPage, returns=list[TaskInfo])
def tasks(call: Call) -> list[TaskInfo]:
    """Lists the tasks, without their versions."""
    return call.services.platform.tasks(call.query.limit, call.query.after)


@operations.add("POST", "/tasks", "operate", body=NewTask, returns=TaskInfo, status=201)
def add_task(call: Call) -> TaskInfo:
    """Makes a task."""
    call.services.platform.add_task(call.body.name, call.body.policy, call.who)
    return call.services.platform.task(call.body.name)


@operations.add("GET", "/tasks/{task}", "read", returns=TaskInfo)
def task(call: Call) -> TaskInfo:
    """Shows a task with its versions."""
    return call.services.platform.task(call.place["task"])


@operations.add("PATCH", "/tasks/{task}", "operate", body=NewPolicy, returns=TaskInfo)
def set_policy(call: Call) -> TaskInfo:
    """Changes whom a task is for."""
    call.services.platform.set_policy(call.place["task"], call.body.policy, call.who)
    return call.services.platform.task(call.place["task"])


@operations.add("DELETE", "/tasks/{task}", "operate", status=204)
def retire(call: Call) -> None:
    """Takes a task from all devices."""
    call.services.platform.retire(call.place["task"], call.who)


@operations.add(
    "POST",
    "/tasks/{task}/versions",
    "operate",
    body=NewVersion,
    returns=VersionInfo,
    status=201,
    limit=12 << 20,
)
def add_version(call: Call) -> VersionInfo:
    """Adds a version whose tag an allowed key has signed and whose files are all here."""
    body, name = call.body, call.place["task"]
    settings = call.services.settings
    allowed = Signers.load(settings.path(settings.allowed_signers))
    version = verify_parsed(*parse_tag(body.tag_object, name, body.number), allowed)
    if (version.commit, version.message) != (body.commit, body.message.strip()):
        raise TrustError(
            f"{version.tag}: the signed tag names the commit {version.commit:.12} and says {version.message[:60]!r}; "
            "send what it says"
        )
    manifest = Manifest.decode(body.manifest)
    if (manifest.task, manifest.version) != (name, f"v{body.number}"):
        raise ApiError(
            400,
            f"{version.tag}: the manifest is of {manifest.task} {manifest.version}",
            "make the manifest of this version",
        )
    _check_files(call, manifest)
    return call.services.platform.add_version(
        name,
        body.number,
        commit=version.commit,
        message=version.message,
        signer=version.signer,
        manifest=body.manifest,
        who=call.who,
    )


def _check_files(call: Call, manifest: Manifest) -> None:
    """Raises ApiError unless all files are in the store: the exclusive ones for the one device of the task's policy."""
    device = ""
    if any(file.exclusive for file in manifest.files):
        devices = call.services.platform.task(manifest.task).policy.get("devices")
        if not isinstance(devices, list) or len(devices) != 1:
            raise ApiError(
                409,
                f"{manifest.task}: has files for one device only, but its policy does not name exactly one",
                'set the policy {"devices": ["its id"]} first',
            )
        device = str(devices[0])
    for file in manifest.files:
        size = call.services.store.size(file.sha256, device if file.exclusive else "")
        if size != file.size:
            found = "is not here" if size is None else f"has {size} bytes here, not {file.size}"
            where = f"/api/v1/files/{file.sha256}" + ("?device=…" if file.exclusive else "")
            raise ApiError(409, f"file {file.path!r} ({file.sha256:.16}…) {found}", f"PUT {where} first")


@operations.add("POST", "/tasks/{task}/versions/{number}/revoke", "operate", body=Reason, status=204)
def revoke(call: Call) -> None:
    """Takes a version from all devices, for ever; afterwards stage its revocation in the image metadata too."""
    call.services.platform.revoke(call.place["task"], call.place["number"], call.who, call.body.why)


@operations.add("GET", "/segments", "read", returns=dict[str, Any])
def segments(call: Call) -> dict[str, Any]:
    """Lists the segments: name and policy."""
    return call.services.platform.segments()


@operations.add("GET", "/segments/{segment}", "read", returns=Table)
def segment(call: Call) -> Any:
    """Shows the policy that a name stands for."""
    name = call.place["segment"]
    found = call.services.platform.segments()
    if name not in found:
        raise ApiError(
            404, f"there is no segment {name!r}", f"there are {', '.join(sorted(found)[:20]) or 'none yet'}"
        )
    return found[name]


@operations.add("PUT", "/segments/{segment}", "operate", body=NewPolicy, status=204)
def set_segment(call: Call) -> None:
    """Gives a policy a name, or a name another policy."""
    call.services.platform.set_segment(call.place["segment"], call.body.policy, call.who)


@operations.add("DELETE", "/segments/{segment}", "operate", status=204)
def delete_segment(call: Call) -> None:
    """Takes a name away; refused while it is used."""
    call.services.platform.set_segment(call.place["segment"], None, call.who)
