"""Why a device is meant by a policy, or is not."""

from __future__ import annotations

import attrs

from walle_deploy.policies.contract import Rule, Verdict
from walle_deploy.profile import Profile

WORDS = {True: "yes", False: "no", None: "unknown"}


@attrs.frozen
class Explained:
    """One rule of a policy and its verdict.

    Attributes:
        label: the rule.
        verdict: None if the profile lacks what is asked; that does not match.
        detail: what was found: the attribute's value, the bucket and the threshold, ...
        parts: the rules in it.
    """

    label: str
    verdict: Verdict
    detail: str = ""
    parts: tuple[Explained, ...] = ()

    @property
    def matches(self) -> bool:
        """Whether the device is meant."""
        return self.verdict is True

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, depth: int = 0) -> list[str]:
        """One line per rule, those inside others indented."""
        detail = f" ({self.detail})" if self.detail else ""
        made = [f"{'  ' * depth}{WORDS[self.verdict]}: {self.label}{detail}"]
        for part in self.parts:
            made += part.lines(depth + 1)
        return made


def explain(rule: Rule, profile: Profile) -> Explained:
    """Every rule of a policy with its verdict for one device, also those that did not decide."""
    parts = tuple(explain(part, profile) for part in rule.parts)
    try:
        return Explained(rule.label(), rule.verdict(profile), rule.detail(profile), parts)
    except Exception as error:  # a plugin's rule; matching takes it for no
        return Explained(type(rule).__name__, None, f"raised {type(error).__name__}: {error}", parts)
