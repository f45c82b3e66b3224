"""What tests ask of a server again and again, however they reach it: in this process, or in one of its own."""

from __future__ import annotations

import base64
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from walle_deploy.manifest import File, Manifest
from walle_deploy.server import folder as folders
from walle_deploy.server.auth import ROLES, Tokens
from walle_deploy.server.database import Database
from walle_deploy.server.settings import Settings
from walle_deploy.task.sshsig import SigningKey as TaskKey
from walle_deploy.task.tags import Version, make_tag
from walle_deploy.trust import SigningKey, load_key

PASSPHRASE = "a passphrase for tests"  # noqa: S105
KNOWN = "testing.json"  # file with the tokens
QUICK: Mapping[str, Any] = {"stages": [{"kind": "full", "control": 0.0, "gates": []}], "watch": 0}
"""A plan without control: everybody gets the version at once."""


class RefusedError(AssertionError):
    """A request that should have been taken was not."""


@attrs.frozen
class Answered:
    """What came for a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)

    def checked(self, method: str, path: str, expect: int | None) -> Answered:
        """Itself. Raises RefusedError if `expect` is another status."""
        if expect is not None and self.status != expect:
            said = self.body.decode(errors="replace")[:500]
            raise RefusedError(f"{method} {path}: {self.status} instead of {expect}: {said}")
        return self


class Requests(ABC):
    """What tests ask of a server again and again, however they reach it.

    Attributes:
        tokens: role -> token, of viewer, operator, approver and admin.
        enrol: the enrolment secret.
        keys: of the image repository by role, and the director's.
        signer: may sign versions.
    """

    tokens: dict[str, str]
    enrol: str
    keys: dict[str, SigningKey]
    signer: TaskKey

    @abstractmethod
    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str | None = "admin",
        headers: Mapping[str, str] | None = None,
        expect: int | None = None,
    ) -> Answered:
        """One request. Raises RefusedError if `expect` is another status.

        Args:
            method: of HTTP.
            path: whole, such as ``/api/v1/tasks``.
            body: bytes as they are; anything else as JSON.
            role: whose token goes along; None: no token.
            headers: further ones.
            expect: status.
        """

    def register(self, device: str) -> str:
        """The token of a device."""
        asked = {"id": device, "enrol": self.enrol}
        return str(self.call("POST", "/walle/register", asked, role=None, expect=200).json["token"])

    def add_task(self, name: str, policy: Mapping[str, Any] | None = None) -> None:
        """A task, for everyone if nothing else is said."""
        self.call("POST", "/api/v1/tasks", {"name": name, "policy": policy or {"everyone": True}}, expect=201)

    def publish(
        self, task: str, number: int, files: Mapping[str, bytes], message: str = "a version"
    ) -> Manifest:
        """Brings a version with these files (path -> content) to where it can be released; there must be the task."""
        listed = []
        for path, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            listed.append(File(path, sha256, len(data)))
            if self.call("HEAD", f"/api/v1/files/{sha256}").status == 404:
                self.call("PUT", f"/api/v1/files/{sha256}", data, expect=201)
        manifest = Manifest.of(task, f"v{number}", listed)
        self.call(
            "POST", f"/api/v1/tasks/{task}/versions", self.version(manifest, number, message), expect=201
        )
        self.sign(self.call("POST", f"/api/v1/images/{task}/{number}/stage", expect=200).json)
        return manifest

    def version(self, manifest: Manifest, number: int, message: str = "a version") -> dict[str, Any]:
        """The body that adds a version, its tag signed by `signer`."""
        commit = hashlib.sha1(manifest.encode(), usedforsecurity=False).hexdigest()
        tag = make_tag(
            Version(manifest.task, number, commit, message, int(time.time()), "Test <t@e>"), self.signer
        )
        return {
            "number": number,
            "commit": commit,
            "message": message,
            "tagger": "Test <t@e>",
            "tag_object": base64.b64encode(tag.as_raw_string()).decode(),
            "manifest": base64.b64encode(manifest.encode()).decode(),
        }

    def sign(self, proposal: Mapping[str, Any]) -> None:
        """Signs what a stage of images gave, and publishes it."""
        key = self.keys[proposal["role"]]
        made = key.private.sign(base64.b64decode(proposal["metadata"])).hex()
        signature = {"role": proposal["role"], "keyid": key.public.tuf.keyid, "signature": made}
        self.call("POST", "/api/v1/images/sign", signature, expect=200)
        self.call("POST", "/api/v1/images/publish", expect=200)

    def release(self, task: str, number: int, plan: Mapping[str, Any] = QUICK) -> int:
        """Begins to release a version; the number of the release."""
        body = {"version": number, "plan": plan}
        return int(self.call("POST", f"/api/v1/tasks/{task}/releases", body, expect=201).json["id"])

    def _packed(
        self, body: Any, role: str | None, headers: Mapping[str, str] | None
    ) -> tuple[bytes | None, dict[str, str]]:
        """Body and headers as they go out."""
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("authorization", f"Bearer {self.tokens[role]}")
        if body is None or isinstance(body, bytes):
            return body, sent
        sent.setdefault("content-type", "application/json")
        return msgspec.json.encode(body), sent


def make_folder(folder: Path, **options: Any) -> Settings:
    """A server's folder with tokens and keys for tests, which `said` reads; members of `Settings` may be given."""
    settings = folders.make(folder, PASSPHRASE, **options)
    signer = TaskKey.generate()
    signer.save(folder / "signer")
    settings.path(settings.allowed_signers).write_text(f"tester {signer.public}\n", "utf-8")
    database = Database.open(settings.database_url)
    tokens = Tokens(database)
    made = {role: tokens.make(role, role, 30)[1] for role in ROLES}
    database.close()
    (folder / KNOWN).write_bytes(msgspec.json.encode(made))
    return settings


def said(folder: Path) -> dict[str, Any]:
    """The attributes of `Requests` for a folder that `make_folder` made."""
    tokens = msgspec.json.decode((folder / KNOWN).read_bytes(), type=dict[str, str])
    offline = {name: load_key(folder / "keys" / name, lambda _: PASSPHRASE) for name in folders.OFFLINE}
    return {
        "enrol": tokens.pop("enrol"),
        "tokens": tokens,
        "keys": {**folders.online_keys(folder), **offline},
        "signer": TaskKey.load(folder / "signer"),
    }
