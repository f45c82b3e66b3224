"""Which of many policies match one device, in about the time that a few take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from mmh3 import mmh3_32_uintdigest

from walle_deploy.buckets import STEPS, prefix
from walle_deploy.policies.clauses import Clause
from walle_deploy.policies.conditions import Condition
from walle_deploy.policies.contract import Rule
from walle_deploy.policies.facets import Facet
from walle_deploy.policies.ladders import bits
from walle_deploy.policies.rules import Ids, Share
from walle_deploy.profile import Profile

SHARED = 8  # clauses that have a salt in common, from which on their shares are indexed
FEW = 16  # clauses that are found one by one in less time than an array takes
SHAPES = 1024  # sets of attribute names that are remembered,
SHAPE = 2048  # and the length of all names in one of them


class Index:
    """Some policies, compiled for matching; it does not change. Any thread may ask it.

    Every clause of every policy is one bit. Each attribute of a profile rules out clauses, by look-ups; what is left is
    asked for its shares and for rules that the index does not know.
    """

    def __init__(self, policies: Iterable[tuple[str, list[Clause]]]) -> None:
        rows = [
            (name, [rule for rule in clause if not _all(rule)])
            for name, some in sorted(policies)
            for clause in some
        ]
        self.owners = [name for name, _ in rows]
        self.failures: dict[str, str] = {}  # policy -> what a plugin's rule raised last
        size = len(rows)
        salts: dict[str, int] = {}
        for _, clause in rows:
            for salt in {rule.salt for rule in clause if isinstance(rule, Share)}:
                salts[salt] = salts.get(salt, 0) + 1
        self.device: dict[str, Facet] = {}
        self.user: dict[str, Facet] = {}
        self.ids = Facet()
        shares: dict[str, Facet] = {}
        self.salts: list[bytes | None] = [None] * size  # of a clause's only question, if that is a share,
        self.limits = [0] * size  # and the limit of that
        self.asked: dict[int, tuple[Rule, ...]] = {}
        for slot, (_, clause) in enumerate(rows):
            left: list[Rule] = []
            for rule in clause:
                if isinstance(rule, Condition):
                    facets = self.device if rule.where == "device" else self.user
                    facets.setdefault(rule.name, Facet()).add(slot, rule)
                elif isinstance(rule, Ids) and rule.inside and slot not in self.ids.valued:
                    self.ids.add_values(slot, rule.ids)
                elif isinstance(rule, Share) and salts[rule.salt] >= SHARED:
                    op = "<" if rule.inside else ">="
                    shares.setdefault(rule.salt, Facet()).add(slot, Condition("", "", op, rule.limit))
                else:
                    left.append(rule)
            if len(left) == 1 and isinstance(left[0], Share) and left[0].inside:
                self.salts[slot], self.limits[slot] = prefix(left[0].salt), left[0].limit
            elif left:
                self.asked[slot] = tuple(left)
        for facet in (*self.device.values(), *self.user.values(), self.ids, *shares.values()):
            facet.finish(size)
        self.asked_bits = bits(self.asked, size)
        self.several = len(set(self.owners)) < size
        self.shares = [(prefix(salt), facet) for salt, facet in shares.items()]
        self.size, self.full = size, (1 << size) - 1
        self.shapes: dict[Any, tuple[int, list[tuple[str, Facet]], list[tuple[str, Facet]]]] = {}

    def match(self, profile: Profile, most: int | None = None) -> tuple[str, ...]:
        """The sorted names of the policies that match; only the first `most`, which takes less time, if that is given."""
        device, user = profile.device, profile.user
        shape = (*device, None, *user)
        left, of_device, of_user = self.shapes.get(shape) or self._shape(shape, profile)
        if self.ids.valued:
            left &= self.ids.allowed(profile.id)
        for name, facet in of_device:
            left &= facet.allowed(device[name])
        for name, facet in of_user:
            left &= facet.allowed(user[name])
        if not left:
            return ()
        encoded = profile.id.encode()
        for salt, facet in self.shares:
            left &= facet.allowed(mmh3_32_uintdigest(salt + encoded))
        if most is not None:
            return self._first(left, profile, encoded, most)
        salts, limits = self.salts, self.limits
        slots = [
            slot
            for slot in self._slots(left)
            if (own := salts[slot]) is None or mmh3_32_uintdigest(own + encoded) < limits[slot]
        ]
        if left & self.asked_bits:
            slots = [slot for slot in slots if slot not in self.asked or self._ask(slot, profile)]
        owners = self.owners
        names = [owners[slot] for slot in slots]
        return tuple(dict.fromkeys(names) if self.several else names)

    def _first(self, left: int, profile: Profile, encoded: bytes, most: int) -> tuple[str, ...]:
        """The first names of what is left."""
        salts, limits, asked, owners = self.salts, self.limits, self.asked, self.owners
        found: dict[str, None] = {}
        for slot in self._slots(left):
            own = salts[slot]
            if own is None or mmh3_32_uintdigest(own + encoded) < limits[slot]:
                if slot in asked and not self._ask(slot, profile):
                    continue
                found[owners[slot]] = None
                if len(found) >= most:
                    break
        return tuple(found)

    def _shape(self, shape: Any, profile: Profile) -> Any:
        """What the absence of attributes leaves, and the facets of those that are there."""
        left = self.full
        for facets, there in ((self.device, profile.device), (self.user, profile.user)):
            for name, facet in facets.items():
                if name not in there:
                    left &= facet.missing
        made = (
            left,
            [(name, self.device[name]) for name in profile.device if name in self.device],
            [(name, self.user[name]) for name in profile.user if name in self.user],
        )
        if sum(len(name or "") for name in shape) <= SHAPE:
            if len(self.shapes) >= SHAPES:
                self.shapes = {}
            self.shapes[shape] = made
        return made

    def _slots(self, left: int) -> list[int]:
        if self.size <= FEW:
            few = []
            while left:
                low = left & -left
                few.append(low.bit_length() - 1)
                left ^= low
            return few
        raw = np.frombuffer(left.to_bytes((self.size + 7) >> 3, "little"), np.uint8)
        found: list[int] = np.unpackbits(raw, bitorder="little").view(bool).nonzero()[0].tolist()
        return found

    def _ask(self, slot: int, profile: Profile) -> bool:
        try:
            return all(rule.verdict(profile) is True for rule in self.asked[slot])
        except Exception as error:  # a plugin's rule; the other policies go on
            self.failures[self.owners[slot]] = f"{type(error).__name__}: {error}"
            return False


def _all(rule: Rule) -> bool:
    """Whether it is a share of all devices, which rules out none."""
    return isinstance(rule, Share) and rule.inside and rule.limit >= STEPS
