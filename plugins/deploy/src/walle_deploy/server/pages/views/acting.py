"""What can be done to a release or a version: first a page that says what follows, then the deed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import attrs

from walle_deploy.errors import DeployError
from walle_deploy.server.answers import ApiError
from walle_deploy.server.logs import event
from walle_deploy.server.pages.asking import Answer, Ask, Go, Page, whole
from walle_deploy.server.pages.site import sentence
from walle_deploy.server.pages.views.rows import line
from walle_deploy.server.types import ReleaseInfo

WHY = 500  # characters of a reason


@attrs.frozen
class Action:
    """Something to do.

    Attributes:
        key: in paths.
        name: on the button.
        right: that it takes.
        states: of a release in which it can be done.
        follows: what happens then, for the confirmation.
        look: of the button.
        reason: whether one must be given.
    """

    key: str
    name: str
    right: str
    states: tuple[str, ...]
    follows: str
    look: str = ""
    reason: bool = False


ACTIONS = (
    Action(
        "approve", "Approve", "approve", ("running", "paused"),
        "Your approval counts for the stage that the release is in. The next stage begins once nothing else is missing.",
        "primary",
    ),
    Action(
        "pause", "Pause", "operate", ("running",),
        "No further device gets the version, and no stage ends, until the release is resumed. Devices that have it keep it.",
    ),
    Action(
        "resume", "Resume", "operate", ("paused",),
        "Devices of the current stage get the version again, and stages end as planned.", "primary",
    ),
    Action(
        "rollback", "Roll back", "operate", ("running", "paused"),
        "Every device goes back to the version before with its next check. This release cannot be taken up again.",
        "danger", reason=True,
    ),
)  # fmt: skip
REVOKE = Action(
    "revoke", "Revoke", "operate", (),
    "The version must not run anywhere, ever: devices that have it remove it with their next check. This cannot be undone. The revocation of its image is prepared, and holds once walle task revoke has signed it where the key is.",
    "danger", reason=True,
)  # fmt: skip

DONE = {
    "approve": "Your approval was noted.",
    "pause": "The release is paused.",
    "resume": "The release goes on.",
    "rollback": "The release was rolled back.",
    "revoke": "The version was revoked.",
    "revoke-image": "The version was revoked. Its image is revoked, too, once walle task revoke has signed that where its key is.",
    "policy": "The policy was set.",
    "start": "The release has begun.",
}


def possible(release: ReleaseInfo) -> Sequence[Action]:
    """What its state allows."""
    return [action for action in ACTIONS if not _hindered(action, release)]


def _hindered(action: Action, release: ReleaseInfo) -> str:
    """Why it cannot be done now; "" if it can."""
    if release.status not in action.states:
        return f"Not possible now: the release is {release.status}."
    if action.key == "approve" and all(
        gate.met or gate.name != "approval" for gate in release.standing.gates
    ):
        return f"Stage {release.standing.stage} of the release waits for no approval."
    return ""


def act(ask: Ask) -> Answer:
    """GET and POST /releases/ID/ACTION."""
    action = next((one for one in ACTIONS if one.key == ask.path["action"]), None)
    if action is None:
        raise ApiError(404, "there is no such page", "Go there from the page of the release.")
    ask.require(action.right)
    release = ask.platform.release(whole(ask.path["release"], "release"))
    back, trouble = f"/releases/{release.id}", _hindered(action, release)
    why = "" if ask.form is None else ask.form.get("why", "").strip()[:WHY]
    if ask.form is not None and not trouble:
        stood = ask.form.get("stage", "")
        if action.key == "approve" and stood != str(release.standing.stage):
            trouble = "The release has gone on to another stage since this page was shown. Look at it again before you approve."
        elif action.reason and not why:
            trouble = "Say why."
        else:
            try:
                _do(ask, action, release.id, why)
            except DeployError as error:
                trouble = sentence(str(error))
            else:
                return Go(f"{back}?done={action.key}")
    return _confirm(
        action, f"{action.name} {release.task} v{release.version}?", trouble, why, back,
        [("/tasks", "Tasks"), (f"/tasks/{release.task}", release.task), (back, f"release {release.id}")],
        line(release, ask.now), release.standing.stage,
    )  # fmt: skip


def _do(ask: Ask, action: Action, release: int, why: str) -> None:
    platform, who = ask.platform, ask.operator.name
    if action.key == "approve":
        platform.approve(release, who, ask.operator.role, why)
    elif action.key == "pause":
        platform.pause(release, who, why)
    elif action.key == "resume":
        platform.resume(release, who, why)
    else:
        platform.rollback(release, who, why)


def revoke(ask: Ask) -> Answer:
    """GET and POST /tasks/NAME/versions/N/revoke."""
    ask.require(REVOKE.right)
    task = ask.platform.task(ask.path["task"])
    number = whole(ask.path["number"], "version")
    version = next((one for one in task.versions if one.number == number), None)
    if version is None:
        raise ApiError(404, f"task {task.name} has no v{number}", "Go there from the page of the task.")
    back, trouble = f"/tasks/{task.name}", ""
    why = "" if ask.form is None else ask.form.get("why", "").strip()[:WHY]
    if version.revoked:
        trouble = f"v{number} is revoked already: {version.revoked}"
    elif ask.form is not None and not why:
        trouble = "Say why."
    elif ask.form is not None:
        try:
            ask.platform.revoke(task.name, number, ask.operator.name, why)
        except DeployError as error:
            trouble = sentence(str(error))
        else:
            return Go(f"{back}?done={_stage_revocation(ask, task.name, number, why)}")
    runs = (
        f"{version.devices:,} devices have v{number}: {version.message}"
        if version.message
        else f"{version.devices:,} devices have v{number}."
    )
    return _confirm(
        REVOKE,
        f"Revoke {task.name} v{number}?",
        trouble,
        why,
        back,
        [("/tasks", "Tasks"), (back, task.name)],
        runs,
        0,
    )


def _stage_revocation(ask: Ask, task: str, number: int, why: str) -> str:
    """Prepares the image's revocation, which only its key makes good; what was done, as DONE calls it."""
    try:
        if ask.images is None or ask.images.listed(task, number) is None:
            return "revoke"
        role = ask.images.revoke(task, number, why).role
    except DeployError as error:  # the server offers it no more, whatever is with its image
        event(
            "the revocation of an image cannot be prepared",
            logging.WARNING,
            task=task,
            version=number,
            error=str(error),
        )
    else:
        ask.platform.note(ask.operator.name, "stage revocation", f"version/{task}/{number}", f"role {role}")
    return "revoke-image"


def _confirm(
    action: Action,
    question: str,
    trouble: str,
    why: str,
    back: str,
    links: list[tuple[str, str]],
    told: str,
    stage: int,
) -> Page:
    values = {
        "action": action, "question": question, "problem": trouble, "why": why, "back": back, "links": links,
        "told": told, "stage": stage,
    }  # fmt: skip
    return Page("confirm.html", values, status=409 if trouble else 200)
