"""Both signatures together: a version may be installed only when the director and the image metadata say the same."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import attrs

from walle_deploy.errors import TrustError
from walle_deploy.trust.answer import ROLLBACK, Answer, AnswerTask, UnknownKeyError
from walle_deploy.trust.images import Image, ImageClient
from walle_deploy.trust.verify import AnswerVerifier


@attrs.frozen
class Installed:
    """What a device has of a task."""

    version: int
    manifest: bytes


@attrs.frozen
class Approved:
    """A version that may be installed; only approve makes one."""

    task: str
    version: int
    manifest: bytes
    size: int
    base: str
    flags: int


@attrs.frozen
class Decision:
    """What an answer comes to: what may be installed, and what may not with the reason."""

    answer: Answer
    approved: tuple[Approved, ...]
    refused: Mapping[str, str]


def approve(task: AnswerTask, image: Image | None, installed: Installed | None = None) -> Approved:
    """Compare the director's word with the image metadata's. Raises TrustError with the reason for a refusal."""
    label = f"{task.name} version {task.version}"
    if image is None:
        raise TrustError(f"{label}: the image metadata does not list it; it was removed, or was never signed")
    if (image.task, image.version) != (task.name, task.version):
        raise TrustError(f"{label}: the image metadata is about {image.task} version {image.version}")
    if image.revoked:
        raise TrustError(f"{label}: revoked: {image.revoked}")
    if image.manifest != task.manifest:
        raise TrustError(
            f"{label}: the director names the manifest {task.manifest.hex()[:16]}, "
            f"the image metadata {image.manifest.hex()[:16]}"
        )
    if image.size != task.size:
        raise TrustError(f"{label}: the director says {task.size} bytes, the image metadata {image.size}")
    if installed is not None:
        if task.version < installed.version and not task.flags & ROLLBACK:
            raise TrustError(
                f"{label}: version {installed.version} is installed, and the answer does not say rollback"
            )
        if task.version == installed.version and task.manifest != installed.manifest:
            raise TrustError(f"{label}: it is installed with other content; a version never changes")
    return Approved(task.name, task.version, task.manifest, task.size, task.base, task.flags)


@attrs.frozen
class Gate:
    """The only way to a new version on a device: an answer, the image metadata, and both must agree."""

    answers: AnswerVerifier
    images: ImageClient

    def decide(self, wire: bytes, installed: Mapping[str, Installed], nonce: bytes = b"") -> Decision:
        """Verify an answer and every task it names. Raises TrustError when the answer or the metadata does not hold.

        No request is spent on an answer that no root could make good; what is left is judged by the newest root. A
        task that is refused does not keep the others back.
        """
        with contextlib.suppress(UnknownKeyError):  # a newer root may name the key
            self.answers.screen(wire, self.images.director, nonce)
        self.images.refresh()
        answer = self.answers.accept(wire, self.images.director, nonce)
        return self._compared(answer, installed)

    def resume(self, installed: Mapping[str, Installed]) -> Decision | None:
        """Judge the last accepted answer again, after a restart; None when it no longer holds. Raises TrustError."""
        self.images.refresh()
        answer = self.answers.last(self.images.director)
        return None if answer is None else self._compared(answer, installed)

    def _compared(self, answer: Answer, installed: Mapping[str, Installed]) -> Decision:
        approved, refused = [], {}
        for task in answer.tasks:
            try:
                image = self.images.image(task.name, task.version)
                approved.append(approve(task, image, installed.get(task.name)))
            except TrustError as error:
                refused[task.name] = str(error)
        return Decision(answer, tuple(approved), refused)
