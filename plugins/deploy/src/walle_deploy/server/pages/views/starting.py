"""Starting a release: its fields, then its plan to look at, then the beginning."""

from __future__ import annotations

from collections.abc import Mapping

from walle_deploy.errors import DeployError
from walle_deploy.release.plan import plan_from
from walle_deploy.server.answers import ApiError
from walle_deploy.server.images import Images
from walle_deploy.server.pages.asking import Answer, Ask, Go, Page, whole
from walle_deploy.server.pages.plans import FIELDS, FIRST, plan_of
from walle_deploy.server.pages.site import sentence
from walle_deploy.server.types import TaskInfo, VersionInfo

OFFERED = 100  # versions to choose from


def start(ask: Ask) -> Answer:
    """GET and POST /tasks/NAME/release."""
    ask.require("operate")
    task = ask.platform.task(ask.path["task"])
    versions = [one for one in task.versions if not one.revoked and one.number != task.stable][:OFFERED]
    if ask.form is None:
        newest = str(versions[0].number) if versions else ""
        return _fields(
            ask,
            task,
            versions,
            {**(FIRST if task.stable is None else FIELDS), "version": ask.query.get("version", newest)},
        )
    given = {name: ask.form.get(name, "") for name in FIELDS}
    if ask.form.get("confirm") == "change":
        return _fields(ask, task, versions, given)
    try:
        return _planned(ask, task, versions, given)
    except DeployError as error:
        return _fields(ask, task, versions, given, sentence(str(error)))


def _planned(ask: Ask, task: TaskInfo, versions: list[VersionInfo], given: Mapping[str, str]) -> Answer:
    number = whole(given["version"], "version")
    if number not in {one.number for one in versions}:
        raise ApiError(400, f"version {number} of {task.name} cannot be released", "Choose another version.")
    if ask.images is not None:
        _published(ask.images, task.name, number)
    values = plan_of(given)
    plan = plan_from(values, ask.gates)
    if ask.form is not None and ask.form.get("confirm") == "yes":
        release = ask.platform.create_release(task.name, number, values, ask.operator.name)
        return Go(f"/releases/{release}?done=start")
    shown = {"task": task, "version": number, "plan": plan, "given": dict(given), "problem": ""}
    return Page("plan.html", shown)


def _published(images: Images, task: str, number: int) -> None:
    """Raises ApiError for a version that every device would refuse."""
    found = images.listed(task, number)
    if found is None:
        raise ApiError(
            409, f"the image of {task} v{number} is not published yet, so every device would refuse it"
        )
    if found.revoked:
        raise ApiError(409, f"the image of {task} v{number} is revoked: {found.revoked}")


def _fields(
    ask: Ask, task: TaskInfo, versions: list[VersionInfo], given: Mapping[str, str], trouble: str = ""
) -> Page:
    segments = sorted(ask.platform.segments())[:OFFERED]
    values = {"task": task, "versions": versions, "segments": segments, "given": given, "problem": trouble}
    return Page("start.html", values, status=400 if trouble else 200)
