"""Why one device gets a task or does not: every rule, every number."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from markupsafe import Markup

from walle_deploy.errors import DeployError
from walle_deploy.release.explain import DeviceStanding
from walle_deploy.release.plan import BUCKETS
from walle_deploy.server.pages import words
from walle_deploy.server.pages.asking import Ask, Page
from walle_deploy.server.pages.site import sentence
from walle_deploy.server.types import Explanation, PolicyLine

NAMES = 200  # tasks that the field offers
RULES = 80  # of a policy that are shown
ARMS = {
    "treatment": "treatment: it is compared with the control",
    "control": "control: it keeps the version before, for comparison",
    "outside": "outside of the comparison",
}


@attrs.frozen
class Scale:
    """A draw from 0 to 2^32, and the threshold that it has to be below."""

    title: str
    words: str
    at: int
    limit: int

    def svg(self) -> Markup:
        """The picture; `words` say the same."""
        here, limit = f"{self.at / BUCKETS * 100:.3f}%", f"{self.limit / BUCKETS * 100:.3f}%"
        side = "end" if self.at > BUCKETS / 2 else "start"
        return Markup(
            '<svg class="scale" height="58" role="img" aria-label="{words}">'
            '<rect class="back" x="0" y="20" width="100%" height="14"/><rect class="in" x="0" y="20" width="{limit}" height="14"/>'
            '<line class="here" x1="{here}" x2="{here}" y1="14" y2="40"/><text x="{here}" y="10" text-anchor="{side}">the device</text>'
            '<text x="0" y="54">0</text><text x="100%" y="54" text-anchor="end">2³²</text></svg>'
        ).format(words=self.words, limit=limit, here=here, side=side)


def explain(ask: Ask) -> Page:
    """GET /explain."""
    device, task = ask.text("device", 128), ask.text("task", 64)
    told, trouble = None, ""
    if device and task:
        try:
            told = _told(ask, ask.platform.explain(device, task))
        except DeployError as error:
            trouble = sentence(str(error))
    names = [one.name for one in ask.platform.tasks(limit=NAMES)]
    values = {"device": device, "task": task, "names": names, "told": told, "problem": trouble}
    return Page("explain.html", values, status=404 if trouble else 200)


def _told(ask: Ask, found: Explanation) -> dict[str, Any]:
    standing, facts, scales = found.standing, [], []
    running = found.running or "nothing"
    if not found.known:
        facts.append(
            ("Known", "no: it never described itself, so it is judged as a device without attributes")
        )
    facts.append(("Runs", running if found.known else "unknown"))
    facts.append(("Should run", found.wanted or "nothing"))
    if (
        standing is not None and found.policy.verdict is True
    ):  # it has no part in a release that is not for it
        facts.append(("Arm", ARMS[standing.offer.arm]))
        facts.append(("Stage", f"{standing.stage}. {standing.title}"))
        scales = _scales(standing)
    verdict = (
        f"{found.device} should run {found.task} {found.wanted}"
        if found.wanted
        else f"{found.device} should not run {found.task}"
    )
    policy, hidden = limited(found.policy, RULES)
    release = None
    if found.release is not None and found.policy.verdict is True:
        info = ask.platform.release(found.release)
        release = {"id": info.id, "name": f"{info.task} v{info.version}", "status": info.status}
    return {
        "verdict": verdict, "why": sentence(found.why), "facts": facts, "scales": scales, "policy": policy,
        "release": release, "hidden": hidden,
    }  # fmt: skip


def limited(rule: PolicyLine, most: int) -> tuple[PolicyLine, int]:
    """The first rules of a policy, as a tree, and how many there are beyond them."""
    left, parts, hidden = most - 1, [], 0
    for part in rule.parts:
        size = _size(part)
        if left <= 0:
            hidden += size
            continue
        kept, out = limited(part, left)
        left -= size - out
        hidden += out
        parts.append(kept)
    return msgspec.structs.replace(rule, parts=tuple(parts)), hidden


def _size(rule: PolicyLine) -> int:
    return 1 + sum(_size(part) for part in rule.parts)


def _scales(standing: DeviceStanding) -> list[Scale]:
    found = []
    if standing.threshold > 0:
        side = "below" if standing.bucket < standing.threshold else "not below"
        told = (
            f"Bucket {words.count(standing.bucket)} is {side} the stage's threshold of {words.count(standing.threshold)} "
            f"({words.share(standing.share)} of all buckets)."
        )
        found.append(Scale("Does it belong to the stage?", told, standing.bucket, standing.threshold))
    outside = standing.offer.arm == "outside" and standing.bucket >= standing.threshold
    if standing.control_threshold and not outside:
        side = "below" if standing.drawn_for_control else "not below"
        told = (
            f"Its second draw, {words.count(standing.control_draw)}, is {side} {words.count(standing.control_threshold)} "
            f"({words.share(standing.control_threshold / BUCKETS)}): it is {'' if standing.drawn_for_control else 'not '}drawn for the control."
        )
        found.append(
            Scale("Is it drawn for the control?", told, standing.control_draw, standing.control_threshold)
        )
    return found
