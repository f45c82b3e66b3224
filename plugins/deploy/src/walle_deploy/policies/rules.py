"""The rules of the built-in kinds. They know three verdicts (Kleene): yes, no, and unknown, which does not match."""

from __future__ import annotations

import attrs

from walle_deploy.buckets import MILLION, bucket, threshold
from walle_deploy.policies.contract import Rule, Verdict
from walle_deploy.profile import Profile


@attrs.frozen
class Everyone(Rule):
    """Every device; with ``yes=False`` none."""

    yes: bool = True

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        return self.yes

    def label(self) -> str:
        """See Rule."""
        return "everyone" if self.yes else "no one"


@attrs.frozen
class Share(Rule):
    """The devices whose bucket is below a threshold; with ``inside=False`` the others."""

    salt: str
    ppm: int
    inside: bool = True

    @property
    def limit(self) -> int:
        """The first bucket outside."""
        return threshold(self.ppm)

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        return (bucket(self.salt, profile.id) < threshold(self.ppm)) is self.inside

    def label(self) -> str:
        """See Rule."""
        text = f"uniform {self.ppm * 100 / MILLION:.4f}".rstrip("0").rstrip(".") + f" % of salt {self.salt!r}"
        return text if self.inside else f"outside of {text}"

    def detail(self, profile: Profile) -> str:
        """See Rule."""
        return f"bucket {bucket(self.salt, profile.id)}, threshold {self.limit}"


@attrs.frozen
class Ids(Rule):
    """The devices of a list; with ``inside=False`` the others."""

    ids: frozenset[str]
    inside: bool = True

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        return (profile.id in self.ids) is self.inside

    def label(self) -> str:
        """See Rule."""
        return f"{'one' if self.inside else 'none'} of {len(self.ids)} devices"

    def detail(self, profile: Profile) -> str:
        """See Rule."""
        return f"{profile.id!r} is {'' if profile.id in self.ids else 'not '}in the list"


@attrs.frozen
class All(Rule):
    """Yes if every part says so, no if one says no, else unknown."""

    parts: tuple[Rule, ...]

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        found: Verdict = True
        for part in self.parts:
            one = part.verdict(profile)
            if one is False:
                return False
            if one is None:
                found = None
        return found

    def label(self) -> str:
        """See Rule."""
        return f"all of {len(self.parts)}"


@attrs.frozen
class AnyOf(Rule):
    """Yes if one part says so, no if every one says no, else unknown."""

    parts: tuple[Rule, ...]

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        found: Verdict = False
        for part in self.parts:
            one = part.verdict(profile)
            if one is True:
                return True
            if one is None:
                found = None
        return found

    def label(self) -> str:
        """See Rule."""
        return f"any of {len(self.parts)}"


@attrs.frozen
class Not(Rule):
    """The opposite; unknown stays unknown, so a device that lacks what is asked is not meant by ``not`` either."""

    parts: tuple[Rule]

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        found = self.parts[0].verdict(profile)
        return None if found is None else not found

    def label(self) -> str:
        """See Rule."""
        return "not"


@attrs.frozen
class Segment(Rule):
    """A policy that has a name."""

    name: str
    parts: tuple[Rule]

    def verdict(self, profile: Profile) -> Verdict:
        """See Rule."""
        return self.parts[0].verdict(profile)

    def label(self) -> str:
        """See Rule."""
        return f"segment {self.name!r}"
