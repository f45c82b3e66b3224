"""Policies that come and go, and which of them match one device."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from walle_deploy.errors import PolicyError
from walle_deploy.policies.clauses import Clause, clauses
from walle_deploy.policies.contract import Rule
from walle_deploy.policies.index import Index
from walle_deploy.profile import Profile

NAMES = 16  # in one remembered answer, on average; with more, fewer answers are kept


class Matcher:
    """Policies that come and go, and answers that are remembered until the next change.

    Changes take effect at the next `match`, or at `refresh`, which a server calls off its hot path. Any thread may ask;
    one at a time may change.

    Args:
        policies: name -> rule.
        remembered: answers that are kept.
    """

    def __init__(self, policies: Mapping[str, Rule] | None = None, *, remembered: int = 100_000) -> None:
        self.rules: dict[str, Rule] = {}
        self.epoch = 0
        self.remembered = remembered
        self._clauses: dict[str, list[Clause]] = {}
        self._stale = True
        self._names = 0  # in all answers that are remembered
        self._lock = threading.Lock()
        self._state: tuple[int, Index, dict[bytes, tuple[str, ...]]]
        self.update(policies or {})
        self.refresh()

    def update(self, policies: Mapping[str, Rule | None]) -> None:
        """Adds or replaces the policies given; None removes one. Raises PolicyError for what cannot be; nothing is changed."""
        for name, rule in policies.items():
            if not isinstance(name, str) or not isinstance(rule, Rule | None):
                raise PolicyError(
                    f"policy {name!r:.60}: found {rule!r:.60}; wanted a compiled rule, or None to remove it"
                )
            if rule is None and name not in self.rules:
                raise PolicyError(f"policy {name!r:.60} is not there, so it cannot be removed")
        made = {name: clauses(rule) for name, rule in policies.items() if rule is not None}
        for name, rule in policies.items():
            if rule is None:
                del self.rules[name], self._clauses[name]
            else:
                self.rules[name], self._clauses[name] = rule, made[name]
        self._stale = True

    def add(self, name: str, rule: Rule) -> None:
        """Adds a policy, or replaces the one of this name."""
        self.update({name: rule})

    def remove(self, name: str) -> None:
        """Removes a policy. Raises PolicyError if there is none of this name."""
        self.update({name: None})

    def refresh(self) -> int:
        """Makes changes take effect; returns the epoch, which is another one after every change."""
        if self._stale:
            with self._lock:
                if self._stale:
                    self._stale = False  # first: a change while the index is made needs another one
                    index = Index(list(self._clauses.items()))
                    self.epoch += 1
                    self._state, self._names = (self.epoch, index, {}), 0
        return self.epoch

    def match(self, profile: Profile) -> tuple[str, ...]:
        """The sorted names of the policies that match a profile."""
        if self._stale:
            self.refresh()
        _, index, answers = self._state
        digest = profile.digest
        found = answers.get(digest)
        if found is None:
            found = index.match(profile)
            if len(answers) >= self.remembered or self._names > NAMES * self.remembered:
                answers.clear()
                self._names = 0
            answers[digest] = found
            self._names += len(found)
        return found

    def known(self, digest: bytes) -> tuple[str, ...] | None:
        """What `match` answered to the profile with this digest since the last change; None if it was not asked."""
        return None if self._stale else self._state[2].get(digest)

    @property
    def index(self) -> Index:
        """The index in use."""
        return self._state[1]
