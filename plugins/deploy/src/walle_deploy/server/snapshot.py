"""What a worker keeps in memory: policies in an index, and for each task what its release or its stable version offers.

It is taken over from the database when the epoch there was raised, and only what changed since. Until `valid_until` no
change of what may be offered can have been acknowledged that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec
from mmh3 import mmh3_32_uintdigest

from walle_deploy.buckets import prefix as salt
from walle_deploy.policies.contract import Rule
from walle_deploy.policies.index import Index
from walle_deploy.profile import Profile
from walle_deploy.server.choice import ASK, Choice
from walle_deploy.trust.answer import EXCLUSIVE, MAX_PAYLOAD, MAX_TASKS, ROLLBACK, AnswerTask

if TYPE_CHECKING:
    from walle_deploy.server.profiles import Described

SEGMENT = "!"  # before the name of a segment among the names of tasks; sorts before all of these
QUIET = 4_000_000  # digests that are remembered
EXPECTED = 50_000  # devices that are expected to have installed an answer
SLACK = 4  # names that are looked for beyond those that fit into an answer: some tasks may offer nothing
_ABOUT = 320  # bytes of an answer beside its tasks, at most
_FIELDS = 56  # bytes of a task in an answer beside its name and base, at most


class View:
    """A task as it is offered.

    Attributes:
        name: of the task.
        salt: what is hashed before a device's id for its bucket.
        stable: version that devices run when no release decides; None: none.
        release: id of the release that decides.
        choice: of this release.
        offers: what answers say, by version; a revoked version is not in it.
        cost: bytes of the largest of its offers in an answer; `private`: how much longer the base of exclusive files is.
        again: when a release whose budget was used up may have an admission, on the steady clock.
    """

    __slots__ = ("again", "choice", "cost", "name", "offers", "release", "salt", "stable")

    def __init__(
        self,
        name: str,
        stable: str | None,
        offers: Mapping[str, AnswerTask],
        release: int | None = None,
        choice: Choice | None = None,
        private: int = 0,
    ) -> None:
        self.name, self.salt = name, salt(name)
        bases = (len(o.base) + (private if o.flags & EXCLUSIVE else 0) for o in offers.values())
        self.cost = len(name) + max(bases, default=0) + _FIELDS
        self.stable = stable if stable in offers else None
        self.offers, self.release, self.again = offers, release, 0.0
        self.choice = choice if choice is not None and choice.version in offers else None
        if self.choice is not None and self.choice.previous not in offers:
            self.choice.previous = self.stable


class Snapshot:
    """One epoch of the database.

    Attributes:
        epoch: of the database.
        index: of the tasks' policies, and of the segments under SEGMENT and their name.
        rules: what is in it.
        views: tasks by name.
        names: of all tasks, retired ones too.
        valid_until: on the steady clock; later nothing may be offered.
        quiet: digests of profiles for which nothing is new.
        expected: digest -> description of a device that will have installed its answer; then nothing is new for it.
        most: tasks that fit into one answer.
    """

    __slots__ = (
        "_enough",
        "_prefix",
        "_stable",
        "epoch",
        "expected",
        "index",
        "most",
        "names",
        "quiet",
        "rules",
        "valid_until",
        "views",
    )

    def __init__(
        self,
        epoch: int,
        index: Index,
        rules: Mapping[str, Rule],
        views: Mapping[str, View],
        names: frozenset[str],
        prefix: Callable[[str], str] | None,
    ) -> None:
        self.epoch, self.index, self.rules, self.views, self.names = epoch, index, rules, views, names
        self.valid_until = 0.0
        self.quiet: set[bytes] = set()
        self.expected: dict[bytes, Described] = {}
        self._prefix = prefix
        largest = max((view.cost for view in views.values()), default=1)
        self.most = max(1, min(MAX_TASKS, (MAX_PAYLOAD - _ABOUT) // largest))
        self._enough = self.most + sum(name[0] == SEGMENT for name in rules) + SLACK
        self._stable = {n: v.stable for n, v in views.items() if v.choice is None and v.stable is not None}

    def wanted(self, profile: Profile) -> tuple[dict[str, str], list[View]]:
        """Task -> version that the device should run, and the tasks whose release has to be asked for an admission.

        Of more tasks than fit into an answer, a device gets those that come first by name.
        """
        names = self.index.match(profile, self._enough)
        made, asked = self._offered(profile, names)
        if len(names) >= self._enough and len(made) < self.most:  # many of them offer nothing
            made, asked = self._offered(profile, self.index.match(profile))
        return made, asked

    def _offered(self, profile: Profile, names: tuple[str, ...]) -> tuple[dict[str, str], list[View]]:
        most = self.most
        versions = list(map(self._stable.get, names))
        if None not in versions[:most]:
            return dict(zip(names[:most], versions, strict=False)), []  # type: ignore[arg-type]
        made: dict[str, str] = {}
        asked: list[View] = []
        betas: set[str] = set()
        version: str | bool | None
        for name, version in zip(names, versions, strict=True):
            if version is None:
                if name[0] == SEGMENT:
                    betas.add(name[1:])
                    continue
                view = self.views[name]
                version = self._chosen(view, profile, betas)
                if version is ASK:
                    asked.append(view)
                    version = view.choice.previous if view.choice is not None else None
                if version is None:
                    continue
            made[name] = version
            if len(made) >= most:
                break
        return made, asked

    def _chosen(self, view: View, profile: Profile, betas: set[str]) -> str | Literal[True] | None:
        """What the task's release offers the device, which meets these segments."""
        choice = view.choice
        if choice is None:
            return None
        device = profile.id
        bucket = mmh3_32_uintdigest(view.salt + device.encode())
        beta = bool(betas) and not choice.betas.isdisjoint(betas)
        return choice.pick(device, bucket, profile.installed.get(view.name), beta=beta)

    def beta(self, profile: Profile, policies: frozenset[str]) -> bool:
        """Whether the device meets one of these segments."""
        return any(
            rule.verdict(profile) is True
            for name in policies
            if (rule := self.rules.get(SEGMENT + name)) is not None
        )

    def answer(self, profile: Profile, wanted: Mapping[str, str]) -> list[AnswerTask]:
        """The tasks of the device's answer."""
        views, installed = self.views, profile.installed
        made = []
        for name, version in wanted.items():
            task = views[name].offers[version]
            running = installed.get(name)
            if running is not None and running != version and number(running) > task.version:
                task = msgspec.structs.replace(task, flags=task.flags | ROLLBACK)
            if task.flags & EXCLUSIVE and self._prefix is not None:
                task = msgspec.structs.replace(task, base=f"{task.base}/{self._prefix(profile.id)}")
            made.append(task)
        return made


@lru_cache(4096)
def number(version: str) -> int:
    """The number of a version's text; 0 if it is none."""
    digits = version[1:11]
    return int(digits) if version[:1] == "v" and digits.isdecimal() and digits.isascii() else 0


def text(number: int | None) -> str | None:
    """A version as releases, profiles and manifests call it."""
    return None if number is None else f"v{number}"
