"""Signed tags: a version of a task is the commit that a tag ``task/<name>/v<N>`` names, if an allowed key signed it."""

from __future__ import annotations

import re
import time
import zlib
from typing import Any

import attrs
from dulwich.errors import ObjectFormatException
from dulwich.objects import Tag

from walle_deploy.errors import TaskError, TrustError
from walle_deploy.task.sshsig import BEGIN, Signers, SigningKey
from walle_deploy.task.values import TASK_NAME

MAX_TAG = 1 << 16  # bytes
_NAME = re.compile(r"task/(?P<task>[a-z0-9_-]+)/v(?P<version>[1-9][0-9]{0,8})")
_HEAD = re.compile(
    rb"object (?P<commit>[0-9a-f]{40})\ntype (?P<type>[a-z]+)\ntag (?P<tag>[^\n]+)\n"
    rb"tagger (?P<tagger>[^\n]*) (?P<time>[0-9]{1,18}) [+-][0-9]{4}\n\n"
)


@attrs.frozen
class Version:
    """A version of a task: its number, the commit, the message and the time of its tag, and who signed it ("" unknown)."""

    task: str
    number: int
    commit: str
    message: str
    time: int
    tagger: str
    signer: str = ""

    @property
    def tag(self) -> str:
        """Name of the tag."""
        return f"task/{self.task}/v{self.number}"


def make_tag(version: Version, key: SigningKey | None) -> Tag:
    """The tag object, signed unless there is no key."""
    text = f"object {version.commit}\ntype commit\ntag {version.tag}\ntagger {version.tagger} {version.time} +0000\n\n"
    payload = (text + version.message.strip() + "\n").encode()
    made = Tag.from_raw_string(Tag.type_num, payload + (key.sign(payload) if key else b""))
    assert isinstance(made, Tag)
    return made


def read_tag(repo: Any, task: str, number: int) -> tuple[Version, bytes, bytes]:
    """What a tag says, the signed bytes and the signature (empty if there is none); nothing of it is proven yet.

    Raises TaskError if there is no such tag, TrustError if it is malformed or is another version's.
    """
    name = f"task/{task}/v{number}"
    try:
        sha = repo.refs[b"refs/tags/" + name.encode()]
    except (KeyError, ValueError) as error:
        raise TaskError(f"there is no version {name}; `walle task log` lists those that are") from error
    try:
        kind, raw = repo.object_store.get_raw(sha)
    except (KeyError, ValueError, ObjectFormatException, zlib.error, AssertionError) as error:
        raise TrustError(f"{name}: the tag {sha.decode()} is missing or damaged; fetch it again") from error
    if kind != Tag.type_num:
        raise TrustError(f"{name}: is a plain name, not a signed tag; make it with `walle task tag`")
    return parse_tag(bytes(raw), task, number)


def parse_tag(raw: bytes, task: str, number: int) -> tuple[Version, bytes, bytes]:
    """As `read_tag`, of the content of a tag object. Raises TrustError if it is malformed or is another version's."""
    name = f"task/{task}/v{number}"
    payload, begin, rest = raw.partition(b"\n" + BEGIN)
    payload = payload + b"\n" if begin else payload
    head = _HEAD.match(payload)
    if len(raw) > MAX_TAG or head is None:
        raise TrustError(f"{name}: the tag is malformed; do not use it, and fetch it again")
    if head["tag"] != name.encode():
        raise TrustError(
            f"{name}: the tag was moved here; it is {head['tag'].decode(errors='replace')!r:.80}"
        )
    if head["type"] != b"commit":
        raise TrustError(f"{name}: names a {head['type'].decode()}; wanted a commit")
    message = payload[head.end() :].decode(errors="replace").strip()
    tagger = head["tagger"].decode(errors="replace")
    version = Version(task, number, head["commit"].decode(), message, int(head["time"]), tagger)
    return version, payload, begin[1:] + rest


def verify_tag(repo: Any, task: str, number: int, allowed: Signers) -> Version:
    """The version, if an allowed key has signed it. Raises TrustError if not, TaskError if there is none."""
    return verify_parsed(*read_tag(repo, task, number), allowed)


def verify_parsed(version: Version, payload: bytes, signature: bytes, allowed: Signers) -> Version:
    """The version that `read_tag` or `parse_tag` found, if an allowed key has signed it. Raises TrustError if not."""
    if not signature:
        raise TrustError(f"{version.tag}: is not signed; sign it with `walle task tag`")
    try:
        return attrs.evolve(version, signer=allowed.verify(payload, signature))
    except TrustError as error:
        raise TrustError(f"{version.tag}: {error}") from error


def numbers(repo: Any, task: str) -> list[int]:
    """Numbers of the task's versions, ascending."""
    found = (_NAME.fullmatch(name.decode(errors="replace")) for name in repo.refs.as_dict(b"refs/tags"))
    return sorted(int(m["version"]) for m in found if m and m["task"] == task)


def new_version(task: str, number: int, commit: str, message: str, tagger: str) -> Version:
    """A version made now. Raises TaskError if the message could be taken for more than a message."""
    if not re.fullmatch(TASK_NAME, task):
        raise TaskError(f"no name of a task: {task!r}")
    if not message.strip() or "-----BEGIN" in message or "\0" in message or len(message) > MAX_TAG // 4:
        raise TaskError(
            "the message of a version: wanted some text without '-----BEGIN' and of less than 16,384 characters"
        )
    return Version(task, number, commit, message.strip(), int(time.time()), tagger)
