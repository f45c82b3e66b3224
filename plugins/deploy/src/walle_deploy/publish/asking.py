"""What commands find out by themselves: the scenario here, the server, the keys, the release that is meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from walle_deploy.client.api import DeployClient
from walle_deploy.client.settings import Config, git_config, settings
from walle_deploy.errors import DeployError, TaskError
from walle_deploy.publish.following import ACTIVE
from walle_deploy.server.types import ReleaseInfo
from walle_deploy.task.sshsig import Signers
from walle_deploy.task.worktree import WorkTree
from walle_deploy.trust.keys import SigningKey, from_environment, from_terminal, load_key


def scenario_here() -> WorkTree | None:
    """The scenario of the current folder, if there is one."""
    try:
        return WorkTree()
    except TaskError:
        return None


def config_here() -> Config:
    """The section ``[deploy]`` of the scenario's git config; nothing outside of a scenario."""
    tree = scenario_here()
    return git_config(tree.scenario.git) if tree is not None else lambda name: None


def client_here() -> DeployClient:
    """A client of the server that the environment or the scenario names. Raises ServerError."""
    return settings(config_here()).client()


def task_here(name: str | None) -> str:
    """The task that is meant: the named one, or that of the current folder. Raises TaskError."""
    if name:
        return name
    tree = scenario_here()
    if tree is None:
        raise TaskError("which task? Name one with --task, or go to a scenario's folder")
    return tree.task


def allowed_signers(path: str | None, tree: WorkTree) -> Signers:
    """Who may sign versions: the file given, deploy.allowedSigners, or git's own. Raises TaskError if none is named."""
    stack = tree.scenario.git.get_config_stack()
    for section, name in (((b"deploy",), b"allowedsigners"), ((b"gpg", b"ssh"), b"allowedsignersfile")):
        if path:
            break
        try:
            path = stack.get(section, name).decode()
        except KeyError:
            continue
    if not path:
        raise TaskError(
            "who may sign versions? Name a file with --allowed, or `git config gpg.ssh.allowedSignersFile FILE`"
        )
    return Signers.load(_beside(path, tree))


def image_key(path: str | None, tree: WorkTree | None) -> SigningKey:
    """The key that signs images: the file given, WALLE_IMAGE_KEY, or deploy.imageKey. Raises DeployError.

    Its passphrase is that of WALLE_KEY_PASSPHRASE, or asked for at a terminal.
    """
    path = (
        path
        or os.environ.get("WALLE_IMAGE_KEY")
        or (git_config(tree.scenario.git)("imagekey") if tree else None)
    )
    if not path:
        raise DeployError(
            "which key signs images? Name a file with --image-key, WALLE_IMAGE_KEY or `git config deploy.imageKey FILE`"
        )
    terminal = not os.environ.get("WALLE_KEY_PASSPHRASE") and sys.stdin.isatty()
    return load_key(_beside(path, tree), from_terminal if terminal else from_environment())


def _beside(path: str, tree: WorkTree | None) -> Path:
    """A path as git means it: below the scenario's folder, unless it is absolute."""
    found = Path(path).expanduser()
    return found if tree is None or found.is_absolute() or found.exists() else tree.folder / found


def version_number(text: str) -> int:
    """3 of ``v3``, ``3`` or ``task/NAME/v3``. Raises TaskError."""
    number = text.rpartition("/")[2].removeprefix("v")
    if not number.isascii() or not number.isdecimal() or not 0 < len(number) < 10 or not int(number):
        raise TaskError(f"{text!r:.80} is no version; wanted one like v3")
    return int(number)


def release_meant(client: DeployClient, release: int | None, task: str | None) -> ReleaseInfo:
    """The release with this id, else the task's newest one. Raises DeployError."""
    if release is not None:
        return client.release(release)
    name = task_here(task)
    found = client.releases(name, limit=20)
    if not found:
        raise DeployError(f"{name} has no release; `walle task release VERSION` makes one")
    return next((each for each in found if each.status in ACTIVE), found[0])
