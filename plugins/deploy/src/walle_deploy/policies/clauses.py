"""Rules as alternatives of conditions that must all hold, the form that the index needs."""

from __future__ import annotations

import itertools
import math

import attrs

from walle_deploy.policies.conditions import Condition
from walle_deploy.policies.contract import Rule
from walle_deploy.policies.rules import All, AnyOf, Everyone, Ids, Not, Segment, Share

MOST = 64  # alternatives of one rule; what would make more is asked as it is

Clause = tuple[Rule, ...]  # matches if every rule in it says yes


def clauses(rule: Rule, yes: bool = True) -> list[Clause]:
    """Alternatives, of which one matches exactly the profiles to which `rule` says yes (or no, if not `yes`).

    Negations move down to single conditions, which keeps unknown apart from no: a condition and its opposite are unknown
    for the same profiles.
    """
    if isinstance(rule, Segment):
        return clauses(rule.parts[0], yes)
    if isinstance(rule, Not):
        return clauses(rule.parts[0], not yes)
    if isinstance(rule, Everyone):
        return [()] if rule.yes is yes else []
    if isinstance(rule, All | AnyOf):
        if isinstance(rule, All) is yes:
            return _product([(part, clauses(part, yes)) for part in rule.parts], yes)
        found = [clause for part in rule.parts for clause in clauses(part, yes)]
        return found if len(found) <= MOST else [(_literal(rule, yes),)]
    return [(_literal(rule, yes),)]


def _product(parts: list[tuple[Rule, list[Clause]]], yes: bool) -> list[Clause]:
    parts.sort(key=lambda part: len(part[1]))
    size = 1
    chosen: list[list[Clause]] = []
    for rule, found in parts:
        size *= len(found)
        chosen.append(found if size <= MOST else [(_literal(rule, yes),)])
    assert math.prod(map(len, chosen)) <= MOST
    return [tuple(itertools.chain(*combination)) for combination in itertools.product(*chosen)]


def _literal(rule: Rule, yes: bool) -> Rule:
    if yes:
        return rule
    if isinstance(rule, Condition):
        return rule.opposite()
    if isinstance(rule, Share | Ids):
        return attrs.evolve(rule, inside=not rule.inside)
    return Not((rule,))
