"""A server's API, one method for each request."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec

from walle_deploy.client.http import JSON, Connection, ServerError, part
from walle_deploy.client.types import Proposal
from walle_deploy.deltas.contract import Delta
from walle_deploy.server.types import (
    AuditLine,
    Changed,
    Counts,
    DeviceInfo,
    Explanation,
    Point,
    ReleaseInfo,
    TaskInfo,
)
from walle_deploy.store.deltas_index import decode, encode
from walle_deploy.task.tags import Version

API = "/api/v1"
EVERYONE = {"everyone": True}
_T = TypeVar("_T")


class DeployClient:
    """The operator's side of a server. Thread-safe. Every method raises ServerError.

    Args:
        url: of the server.
        token: of the operator.
        options: of `Connection`.
    """

    def __init__(self, url: str, token: str = "", **options: Any) -> None:
        self.http = Connection(url, token, **options)

    def close(self) -> None:
        """Closes its connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # tasks and versions

    def tasks(self, after: str | None = None, limit: int | None = None) -> list[TaskInfo]:
        """Tasks in the order of their names, without their versions."""
        return self._get("/tasks", list[TaskInfo], after=after, limit=limit)

    def task(self, name: str, *, create: bool = False) -> TaskInfo:
        """A task; with `create`, a new one for everyone if there is none."""
        data = self.http.request("GET", f"{API}/tasks/{part(name)}", absent=create)
        if data is None:
            self.add_task(name, EVERYONE)
            return self.task(name)
        return _read(data, TaskInfo)

    def add_task(self, name: str, policy: Mapping[str, Any]) -> None:
        """A new task for those that a policy means."""
        self._post("/tasks", {"name": name, "policy": policy})

    def set_policy(self, name: str, policy: Mapping[str, Any]) -> None:
        """For whom a task is from now on."""
        self.http.request("PATCH", f"{API}/tasks/{part(name)}", value={"policy": policy})

    def retire(self, name: str) -> None:
        """Takes a task from all devices."""
        self.http.request("DELETE", f"{API}/tasks/{part(name)}")

    def segment(self, name: str) -> Any:
        """The policy that a name stands for; None if there is none."""
        data = self.http.request("GET", f"{API}/segments/{part(name)}", absent=True)
        return None if data is None else _read(data, Any)

    def set_segment(self, name: str, policy: Mapping[str, Any] | None) -> None:
        """Gives a policy a name; None takes it away."""
        if policy is None:
            self.http.request("DELETE", f"{API}/segments/{part(name)}")
        else:
            self.http.request("PUT", f"{API}/segments/{part(name)}", value={"policy": policy})

    def add_version(self, version: Version, tag: bytes, manifest: bytes) -> None:
        """A version whose files the server has; it verifies the tag. Equal ones may be added again."""
        self._post(
            f"/tasks/{part(version.task)}/versions",
            {
                "number": version.number,
                "commit": version.commit,
                "message": version.message,
                "tagger": version.tagger,
                "tag_object": _text(tag),
                "manifest": _text(manifest),
            },
        )

    def revoke(self, task: str, number: int, why: str) -> None:
        """Takes a version from all devices, for ever."""
        self._post(f"/tasks/{part(task)}/versions/{number}/revoke", {"why": why})

    # files

    def has_file(self, sha256: str, device: str = "") -> bool:
        """Whether the server has a file, or the exclusive file of a device."""
        path, query = f"{API}/files/{part(sha256)}", {"device": device or None}
        return self.http.request("HEAD", path, query=query, absent=True) is not None

    def put_file(
        self, sha256: str, data: bytes, device: str = "", sent: Callable[[int], None] | None = None
    ) -> None:
        """Sends a file; `sent` is called with bytes that went out."""
        query = {"device": device or None}
        self.http.request("PUT", f"{API}/files/{part(sha256)}", query=query, body=data, sent=sent)

    def deltas(self, sha256: str) -> tuple[Delta, ...]:
        """The deltas that lead to a shared file."""
        data = self.http.request("GET", f"{API}/deltas/{part(sha256)}", absent=True)
        return () if not data else decode(data)

    def put_deltas(self, sha256: str, deltas: Sequence[Delta]) -> None:
        """Lists deltas whose files the server has, beside those that it lists already."""
        self.http.request("PUT", f"{API}/deltas/{part(sha256)}", body=encode(deltas), kind=JSON)

    # images

    def stage_image(self, task: str, number: int) -> Proposal | None:
        """The metadata that lists a version, to be signed; None if the published one does."""
        data = self._post(f"/images/{part(task)}/{number}/stage", {})
        return _read(data, Proposal) if data else None

    def stage_revocation(self, task: str, number: int, why: str) -> Proposal:
        """The metadata that lists a version as revoked, to be signed."""
        return _read(self._post(f"/images/{part(task)}/{number}/revoke", {"why": why}), Proposal)

    def sign_image(self, role: str, keyid: str, signature: str) -> None:
        """A signature on what is staged."""
        self._post("/images/sign", {"role": role, "keyid": keyid, "signature": signature})

    def publish_images(self) -> None:
        """Shows devices what is staged and fully signed."""
        self._post("/images/publish", {})

    # releases

    def create_release(self, task: str, number: int, plan: Mapping[str, Any]) -> int:
        """Begins to release a version by a plan; returns the release's id."""
        data = self._post(f"/tasks/{part(task)}/releases", {"version": number, "plan": plan})
        return int(_read(data, dict[str, Any])["id"])

    def releases(self, task: str | None = None, limit: int | None = None) -> list[ReleaseInfo]:
        """Releases, of one task or all, newest first."""
        return self._get("/releases", list[ReleaseInfo], task=task, limit=limit)

    def release(self, release: int) -> ReleaseInfo:
        """One release."""
        return self._get(f"/releases/{release}", ReleaseInfo)

    def curve(self, release: int) -> list[Point]:
        """Coverage and failures over time."""
        return self._get(f"/releases/{release}/curve", list[Point])

    def approve(self, release: int, why: str = "") -> None:
        """Approves what the current stage has shown."""
        self._post(f"/releases/{release}/approve", {"why": why})

    def pause(self, release: int, why: str = "") -> None:
        """Nobody new gets the version, until it is resumed."""
        self._post(f"/releases/{release}/pause", {"why": why})

    def resume(self, release: int, why: str = "") -> None:
        """Goes on."""
        self._post(f"/releases/{release}/resume", {"why": why})

    def rollback(self, release: int, why: str) -> None:
        """Devices go back to the version before."""
        self._post(f"/releases/{release}/rollback", {"why": why})

    def simulated(self, release: int, passed: bool, why: str) -> None:
        """Tells how the simulation ended."""
        self._post(f"/releases/{release}/simulated", {"passed": passed, "why": why})

    def events(self, idle_s: float = 60.0) -> Iterator[Changed]:
        """Changes of releases as they happen; ends when the server ends it. Raises ServerError after `idle_s` of silence."""
        for line in self.http.lines(f"{API}/events", idle_s):
            if line.startswith("data:"):
                yield _read(line[5:].encode(), Changed)

    # devices and people

    def devices(
        self, prefix: str | None = None, after: str | None = None, limit: int | None = None
    ) -> list[DeviceInfo]:
        """Devices in the order of their ids."""
        return self._get("/devices", list[DeviceInfo], prefix=prefix, after=after, limit=limit)

    def device(self, device: str) -> DeviceInfo:
        """One device: its profile and what it runs."""
        return self._get(f"/devices/{part(device)}", DeviceInfo)

    def explain(self, device: str, task: str) -> Explanation:
        """Why a device gets a task, or does not."""
        return self._get("/explain", Explanation, device=device, task=task)

    def counts(self) -> Counts:
        """The platform in numbers."""
        return self._get("/counts", Counts)

    def audit(self, limit: int | None = None, text: str | None = None) -> list[AuditLine]:
        """Who changed what, newest first."""
        return self._get("/audit", list[AuditLine], limit=limit, text=text)

    def add_token(self, name: str, role: str, days: int) -> str:
        """A token, which is shown this once."""
        return str(
            _read(self._post("/tokens", {"name": name, "role": role, "days": days}), dict[str, Any])["token"]
        )

    def _get(self, path: str, kind: type[_T], **query: Any) -> _T:
        return _read(self.http.request("GET", API + path, query=query), kind)

    def _post(self, path: str, value: Any) -> bytes | None:
        return self.http.request("POST", API + path, value=value)


def _read(data: bytes | None, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerError(
            f"an answer that this program does not understand: {str(error)[:300]}; is WALLE_SERVER right, and both "
            "programs of one version?"
        ) from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
