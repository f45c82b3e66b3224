"""Who is in the beta stage of a plan by a policy, as the fleet itself sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from walle_deploy.fleet.population import Population
from walle_deploy.policies.compiling import compile_policy
from walle_deploy.release.plan import Plan


def beta_of(population: Population, plan: Plan, segments: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether a device, by its id, meets the policy of the plan's beta stage; what it has installed does not count.

    Raises PolicyError for a segment that is not there.
    """
    names = {stage.policy for stage in plan.stages if stage.policy is not None}
    rules = [compile_policy({"segment": name}, segments, name) for name in sorted(names)]
    if not rules:
        return lambda _device: False

    def meets(device: str) -> bool:
        number = int(device.removeprefix(population.prefix)) - population.first
        profile = population.profile(number, {})
        return any(rule.verdict(profile) is True for rule in rules)

    return meets
