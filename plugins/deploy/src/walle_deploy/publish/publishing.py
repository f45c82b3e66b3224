"""The whole way of a version to a server: build, files, deltas, the version itself, its image; each step may be repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

from walle_deploy.client.api import DeployClient
from walle_deploy.client.http import ServerError
from walle_deploy.client.types import Proposal
from walle_deploy.errors import DeployError
from walle_deploy.publish.images import Listed, Revoked, checked, sign
from walle_deploy.publish.making import BUDGET_S, VERSIONS, make_deltas
from walle_deploy.publish.progress import Silent, Watcher
from walle_deploy.publish.upload import NOTHING, Uploaded, upload
from walle_deploy.publish.version import Built, before, build
from walle_deploy.server.types import TaskInfo, VersionInfo
from walle_deploy.task.repo import Scenario
from walle_deploy.task.sshsig import Signers
from walle_deploy.trust.images import target_path
from walle_deploy.trust.keys import PublicKey, SigningKey

TRIES, WAIT_S, CONFLICT = 20, 0.2, 409


@attrs.frozen
class Published:
    """What was done.

    Attributes:
        task: its name.
        number: of the version.
        manifest: digest of its manifest.
        files: that were sent, of all.
        deltas: that were made and sent.
        delta_share: bytes of the deltas from the last version, of the bytes of the files that they make; None if none was
            made.
        new: whether the server had not published this version before.
    """

    task: str
    number: int
    manifest: str
    files: Uploaded = NOTHING
    deltas: Uploaded = NOTHING
    delta_share: float | None = None
    new: bool = True


def publish(
    client: DeployClient,
    scenario: Scenario,
    task: str,
    number: int,
    allowed: Signers,
    key: SigningKey,
    watcher: Watcher = Silent(),  # noqa: B008 - it has no state
    versions: int = VERSIONS,
    budget_s: float = BUDGET_S,
    known_keys: Sequence[PublicKey] = (),
) -> Published:
    """Brings a version to a server, so that it can be released. Raises DeployError; then it can just be called again.

    Args:
        client: of the server.
        scenario: the repository.
        task: its name.
        number: of the version.
        allowed: who may sign versions.
        key: of the role that signs images of this task.
        watcher: is told what goes on.
        versions: from how many earlier ones deltas are made.
        budget_s: for one delta.
        known_keys: others that may have signed the image metadata that is published now.
    """
    watcher.step(f"verifying {task} v{number}")
    built = build(scenario, task, number, allowed)
    manifest, digest = built.manifest.encode(), built.manifest.digest
    known = client.task(task, create=True)
    there = version_of(known, number)
    if there is not None and there.manifest != digest:
        raise DeployError(
            f"{task} v{number}: the server has it with other content ({there.manifest:.16}… for {digest:.16}…); a version "
            "never changes: tag the next one"
        )
    if there is not None and there.published:
        return Published(task, number, digest, new=False)
    device = _only_device(built, known.policy)
    watcher.step(f"files of {task} v{number}")
    sent = upload(client, built.shared(), "", watcher)
    if device:
        sent += upload(client, built.exclusive(), device, watcher)
    olds = before(scenario, task, number, versions, known.stable)
    deltas, share = _send_deltas(client, scenario, built, olds, watcher, budget_s)
    watcher.step(f"version {task} v{number}")
    client.add_version(built.version, built.tag, manifest)
    watcher.step(f"image of {task} v{number}")
    wanted = {target_path(task, number): Listed(manifest)}
    _signed(client, lambda: client.stage_image(task, number), wanted, key, known_keys)
    return Published(task, number, digest, sent, deltas, share)


def revoke(
    client: DeployClient,
    task: str,
    number: int,
    why: str,
    key: SigningKey,
    known_keys: Sequence[PublicKey] = (),
) -> None:
    """Takes a version from all devices: by the server at once, and by the image metadata, over which no server has power.

    Raises DeployError; then it can just be called again.
    """
    client.revoke(task, number, why)
    wanted = {target_path(task, number): Revoked(why)}
    _signed(client, lambda: client.stage_revocation(task, number, why), wanted, key, known_keys)


def _signed(
    client: DeployClient,
    propose: Callable[[], Proposal | None],
    wanted: Mapping[str, Listed | Revoked],
    key: SigningKey,
    known_keys: Sequence[PublicKey],
) -> None:
    """Signs what the server proposes, if it is what is wanted, and publishes it.

    While others publish, the server takes one after the other.
    """
    keys = [key.public, *known_keys]
    for attempt in range(TRIES):
        try:
            if (proposal := propose()) is not None:
                allowed = checked(proposal.metadata, proposal.before, wanted, keys, time.time())
                client.sign_image(proposal.role, *sign(allowed, key))
                client.publish_images()
        except ServerError as error:
            if error.status != CONFLICT or attempt + 1 == TRIES:
                raise
            time.sleep(random.uniform(0.5, 1.5) * WAIT_S)  # noqa: S311
        else:
            return


def version_of(task: TaskInfo, number: int) -> VersionInfo | None:
    """One version of a task; None if the server has none of this number."""
    return next((each for each in task.versions if each.number == number), None)


def _send_deltas(
    client: DeployClient, scenario: Scenario, built: Built, olds: list[int], watcher: Watcher, budget_s: float
) -> tuple[Uploaded, float | None]:
    contents = [scenario.files(built.version.task, f"v{old}") for old in olds]
    sent, small, whole = NOTHING, 0, 0
    sizes = {file.sha256: file.size for file in built.manifest.files}
    for made in make_deltas(built, contents, client.deltas, watcher.step, budget_s):
        if not made.deltas:
            continue
        sent += upload(client, {delta.sha256: data for delta, data in made.deltas}, "", watcher)
        client.put_deltas(made.sha256, [delta for delta, _ in made.deltas])
        if least := [delta.size for delta, _ in made.deltas if delta.base]:
            small, whole = small + min(least), whole + sizes[made.sha256]
    return sent, small / whole if whole else None


def _only_device(built: Built, policy: object) -> str:
    """The device whose exclusive files these are; "" if there are none. Raises DeployError unless the policy names one."""
    paths = [file.path for file in built.manifest.files if file.exclusive]
    if not paths:
        return ""
    devices = policy.get("devices") if isinstance(policy, dict) and set(policy) == {"devices"} else None
    if not isinstance(devices, list) or len(devices) != 1:
        raise DeployError(
            f"{built.version.task}: {paths[0]} is exclusive to one device, but the task's policy does not name exactly one: "
            '`walle task policy` with {"devices": ["its id"]}'
        )
    return str(devices[0])
