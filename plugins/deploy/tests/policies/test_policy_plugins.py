"""Kinds of policies that plugins offer, through the same hook as those that come with the package."""

from importlib.metadata import EntryPoint
from types import MappingProxyType

import pytest
from walle_deploy.errors import PolicyError
from walle_deploy.policies import Compiler, Matcher, PolicyKind, Rule, installed_kinds, policy_schema
from walle_deploy.profile import Profile

from walle_core import plugins


def test_the_hook_registers_every_kind():
    found = plugins.build([EntryPoint("deploy", "walle_deploy", "walle")], strict=True)
    assert list(found.policies) == [
        *("everyone", "uniform", "device", "user", "devices", "segment", "all", "any", "not")
    ]
    for kind in found.policies.values():
        assert kind.load().schema
        assert kind.summary
    assert Compiler(kinds=found.policies).compile({"everyone": True}).label() == "everyone"


class Even(Rule):
    """A plugin's rule: an even number of tasks."""

    def verdict(self, profile):
        return len(profile.installed) % 2 == 0

    def label(self):
        return "even"


class EvenKind:
    schema = MappingProxyType({"const": True})

    @staticmethod
    def compile(params, place):
        if params == "broken":
            return 3
        if params is not True:
            raise place.error(params, "true")
        return Even()


def test_a_plugin_offers_a_kind(profile, monkeypatch):
    kinds = installed_kinds().copy("test")
    kinds.add(PolicyKind("even", f"{__name__}:EvenKind", summary="even"))
    kinds.add(PolicyKind("gate", f"{__name__}:EvenKind", kind="gate"))
    kinds.add(PolicyKind("lost", f"{__name__}:Nothing"))
    monkeypatch.setitem(
        __import__("sys").modules, __name__, __import__("types").SimpleNamespace(EvenKind=EvenKind)
    )
    compiler = Compiler(kinds=kinds)
    rule = compiler.compile({"any": [{"not": {"even": True}}, {"device": {"os": "ios"}}]})
    assert rule.verdict(profile) is True
    matcher = Matcher({"p": rule})
    assert matcher.match(profile) == ("p",)
    assert matcher.match(Profile("d", {"os": "android"})) == ()
    assert matcher.match(Profile("d", {"os": "ios"})) == ("p",)
    with pytest.raises(PolicyError, match=r"policy\.even: found 1; wanted true"):
        compiler.compile({"even": 1})
    with pytest.raises(PolicyError, match="which is no Rule"):
        compiler.compile({"even": "broken"})
    with pytest.raises(PolicyError, match="found 'gate'"):
        compiler.compile({"gate": True})
    with pytest.raises(Exception, match=r"lost.*cannot be loaded"):
        compiler.compile({"lost": True})
    assert policy_schema(installed_kinds())["properties"].keys() == {
        "everyone",
        "uniform",
        "device",
        "user",
        "devices",
        "segment",
        "all",
        "any",
        "not",
    }
