"""Why a device is meant, or is not."""

import time

from hypothesis import given, settings
from policy_strategies import SEGMENTS, policies, profiles
from walle_deploy.policies import Compiler, Rule, compile_policy, explain


def test_names_what_decided(profile):
    policy = {
        "all": [
            {"device": {"os": "android", "os_version": ">=13", "color": {"ne": "red"}}},
            {"not": {"uniform": {"percent": 5, "salt": "v2"}}},
            {"segment": "testers"},
            {"devices": ["device-1"]},
            {"device": {"os": ">=1"}},
        ]
    }
    rule = compile_policy(policy, {"testers": {"user": {"groups": {"contains": "beta"}}}})
    found = explain(rule, profile)
    assert not found.matches
    assert str(found).splitlines() == [
        "no: all of 5",
        "  no: all of 3",
        "    yes: device.os eq 'android' (found 'android')",
        "    no: device.os_version >= '13' (found '12.1')",
        "    unknown: device.color ne 'red' (the profile lacks it)",
        "  yes: not",
        "    no: uniform 5 % of salt 'v2' (bucket 3368823423, threshold 214748364)",
        "  yes: segment 'testers'",
        "    yes: user.groups contains 'beta' (found ['beta'])",
        "  yes: one of 1 devices ('device-1' is in the list)",
        "  unknown: device.os >= '1' (found 'android', which cannot be compared)",
    ]


@given(policies, profiles)
@settings(deadline=None)
def test_agrees_with_the_rule(policy, profile):
    rule = Compiler(SEGMENTS).compile(policy)
    found = explain(rule, profile)
    assert found.verdict is rule.verdict(profile)
    assert len(str(found).splitlines()) == len(found.lines())


def test_within_a_millisecond(profile):
    parts = [{"device": {"os": "android", "os_version": ">=12"}}, {"uniform": {"percent": 5, "salt": "v2"}}]
    rule = compile_policy(
        {"any": [{"all": parts}, {"not": {"all": parts}}, {"user": {"country": ["de", "fr"]}}]}
    )
    times = []
    for _ in range(200):
        start = time.perf_counter()
        str(explain(rule, profile))
        times.append(time.perf_counter() - start)
    assert sorted(times)[100] < 1e-3


class Broken(Rule):
    def verdict(self, profile):
        raise ZeroDivisionError("no")

    def label(self):
        return "broken"


def test_a_rule_that_raises(profile):
    assert str(explain(Broken(), profile)) == "unknown: Broken (raised ZeroDivisionError: no)"


def test_texts_of_users_stay_in_their_line(profile):
    rule = compile_policy({"device": {"os": {"in": ["a\nb", "x" * 1000, "\u2028"]}}})
    assert len(str(explain(rule, profile)).splitlines()) == 1
