"""How policies are written, what each kind means, and what is refused with which words."""

import math
import tomllib

import pytest
from walle_deploy.errors import PolicyError
from walle_deploy.policies import (
    Compiler,
    Matcher,
    compile_policy,
    explain,
)
from walle_deploy.policies.compiling import DEPTH, NODES
from walle_deploy.profile import Profile


def verdict(policy, profile, **segments):
    rule = compile_policy(policy, segments)
    found = rule.verdict(profile)
    assert explain(rule, profile).verdict is found
    assert Matcher({"p": rule}).match(profile) == (("p",) if found is True else ())
    return found


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ({"os": "android"}, True),
        ({"os": "ios"}, False),
        ({"os": ["ios", "android"]}, True),
        ({"os": {"ne": "ios"}}, True),
        ({"os": {"not_in": ["ios", "android"]}}, False),
        ({"os": {"eq": ">=12"}}, False),
        ({"os_version": ">=12"}, True),
        ({"os_version": ">=12.10"}, False),
        ({"os_version": ">=12, <12.2"}, True),
        ({"os_version": "==12.1.0"}, True),
        ({"os_version": "12.1.0"}, False),
        ({"os_version": "!=12.1.0"}, False),
        ({"os_version": {"ge": "12", "lt": "13"}}, True),
        ({"os_version": {"ge": 12}}, None),
        ({"os": ">=12"}, None),
        ({"os": 12}, None),
        ({"memory_mb": {"ge": 4096}}, True),
        ({"memory_mb": {"gt": 4096}}, False),
        ({"memory_mb": ">=4000"}, True),
        ({"memory_mb": ">=4000.1.2"}, None),
        ({"memory_mb": 4096.0}, True),
        ({"memory_mb": [1, 4096]}, True),
        ({"memory_mb": "4096"}, None),
        ({"speed.neon": ">40"}, True),
        ({"rooted": False}, True),
        ({"rooted": 0}, None),
        ({"rooted": {"ne": True}}, True),
        ({"backends": {"contains": "gpu"}}, True),
        ({"backends": {"contains": "npu"}}, False),
        ({"backends": "gpu"}, None),
        ({"os": {"contains": "andr"}}, None),
        ({"os": {"exists": True}}, True),
        ({"color": {"exists": True}}, False),
        ({"color": {"exists": False}}, True),
        ({"color": "red"}, None),
        ({"color": {"ne": "red"}}, None),
        ({"__class__": "x"}, None),
        ({"os": "android", "color": "red"}, None),
        ({"os": "ios", "color": "red"}, False),
    ],
)
def test_conditions(condition, wanted, profile):
    assert verdict({"device": condition}, profile) is wanted
    opposite = None if wanted is None else not wanted
    assert verdict({"not": {"device": condition}}, profile) is opposite, "unknown stays unknown"
    assert verdict({"user": condition}, Profile("d", {}, profile.device)) is wanted


def test_kinds(profile):
    assert verdict({"everyone": True}, profile) is True
    assert verdict({"devices": ["device-1", "x"]}, profile) is True
    assert verdict({"devices": ["x"]}, profile) is False
    assert verdict({"not": {"devices": ["x"]}}, profile) is True
    assert verdict({"uniform": {"salt": "v2", "percent": 100}}, profile) is True
    assert verdict({"uniform": {"salt": "v2", "percent": 0}}, profile) is False
    bucket = 0xC8CC2A7F * 1_000_000 // 2**32
    assert verdict({"uniform": {"salt": "v2", "ppm": bucket}}, profile) is False
    assert verdict({"uniform": {"salt": "v2", "ppm": bucket + 1}}, profile) is True
    assert verdict({"segment": "s"}, profile, s={"user": {"age": ">=18"}}) is True


def test_three_valued_logic(profile):
    yes, no, unknown = {"everyone": True}, {"devices": ["x"]}, {"device": {"color": "red"}}
    for parts, every, some in (
        ([yes, unknown], None, True),
        ([no, unknown], False, None),
        ([unknown, unknown], None, None),
        ([yes, no, unknown], False, True),
    ):
        for order in (parts, parts[::-1]):
            assert verdict({"all": order}, profile) is every
            assert verdict({"any": order}, profile) is some
    assert verdict({"not": {"not": unknown}}, profile) is None


def test_toml():
    text = (
        'policy = {all=[{device={os="android", os_version=">=12"}}, {uniform={percent=0.0003, salt="v2"}}]}'
    )
    rule = compile_policy(tomllib.loads(text)["policy"])
    assert [part.label() for part in rule.parts] == ["all of 2", "uniform 0.0003 % of salt 'v2'"]
    assert rule.parts[1].ppm == 3


def test_percents_are_exact():
    for parts in range(0, 1_000_001, 997):
        assert compile_policy({"uniform": {"salt": "s", "percent": parts / 10_000}}).ppm == parts


DEEP = {"everyone": True}
for _ in range(100_000):
    DEEP = {"not": DEEP}
DEEP_LIST = []
for _ in range(100_000):
    DEEP_LIST = [DEEP_LIST]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (7, r"policy: found 7; wanted a table with one key, one of everyone, uniform"),
        ({}, "policy: found {}"),
        ({"all": [], "any": []}, "table with one key"),
        ({"everyone": False}, r"policy\.everyone: found False; wanted true"),
        ({"every": True}, "policy: found 'every'; wanted one of everyone"),
        ({None: True}, "policy: found None"),
        ({"__class__": 1}, "policy: found '__class__'"),
        ({"all": []}, r"policy\.all: found \[\]; wanted a list of 1 to 256"),
        ({"all": [{"everyone": True}] * 257}, r"policy\.all: found"),
        ({"all": {"everyone": True}}, r"policy\.all: found"),
        ({"any": [{"everyone": True}, {"device": {"os": None}}]}, r"policy\.any\[1\]\.device\.os: found None; wanted a text"),
        ({"not": {"uniform": {"salt": "s"}}}, r"policy\.not\.uniform: found .*wanted a table with salt"),
        ({"uniform": {"percent": 5}}, "salt"),
        ({"uniform": {"salt": "s", "percent": 5, "ppm": 1}}, "percent or ppm"),
        ({"uniform": {"salt": "s", "percent": 101}}, r"policy\.uniform\.percent: found 101; wanted a number from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": -1}}, "from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": math.nan}}, "from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": math.inf}}, "from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": True}}, "from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": "5"}}, "from 0 to 100"),
        ({"uniform": {"salt": "s", "percent": 0.00001}}, "steps of 0.0001 %"),
        ({"uniform": {"salt": "s", "percent": 1e-300}}, "steps of 0.0001 %"),
        ({"uniform": {"salt": "s", "ppm": 1.5}}, "steps of 1 ppm"),
        ({"uniform": {"salt": "a\0b", "ppm": 1}}, r"uniform\.salt: .*without NUL"),
        ({"uniform": {"salt": "\ud800", "ppm": 1}}, r"uniform\.salt"),
        ({"uniform": {"salt": "x" * 257, "ppm": 1}}, r"uniform\.salt"),
        ({"uniform": {"salt": 3, "ppm": 1}}, r"uniform\.salt"),
        ({"device": {}}, "a table of 1 to 256 attributes"),
        ({"device": []}, "a table of 1 to 256 attributes"),
        ({"device": {str(n): 1 for n in range(257)}}, "a table of 1 to 256 attributes"),
        ({"device": {"": 1}}, "the name of an attribute"),
        ({"device": {3: 1}}, "the name of an attribute"),
        ({"device": {"a": math.nan}}, r"device\.a: found nan"),
        ({"device": {"a": 2**63}}, r"device\.a"),
        ({"device": {"a": "x" * 1025}}, r"device\.a"),
        ({"device": {"a": "\ud800"}}, r"device\.a"),
        ({"device": {"a": []}}, "a list of 1 to 100000 values"),
        ({"device": {"a": [1] * 100_001}}, "a list of 1 to 100000 values"),
        ({"device": {"a": [1, "x"]}}, "a list of texts or a list of numbers"),
        ({"device": {"a": [True]}}, "a list of texts or a list of numbers"),
        ({"device": {"a": [[1]]}}, r"device\.a\.0: found \[1\]"),
        ({"device": {"a": {}}}, "one of eq, ne"),
        ({"device": {"a": {"like": "x"}}}, "found 'like'; wanted one of eq, ne"),
        ({"device": {"a": {"__eq__": "x"}}}, "found '__eq__'; wanted one of eq, ne"),
        ({"device": {"a": {"exists": 1}}}, "wanted true or false"),
        ({"device": {"a": {"contains": 1}}}, "wanted a text"),
        ({"device": {"a": {"ge": "new"}}}, "a number or a version"),
        ({"device": {"a": {"ge": True}}}, "a number or a version"),
        ({"device": {"a": ">=new"}}, "comparisons such as"),
        ({"device": {"a": ">=12,13"}}, "comparisons such as"),
        ({"device": {"a": ">="}}, "comparisons such as"),
        ({"devices": []}, "device ids"),
        ({"devices": "device-1"}, "device ids"),
        ({"devices": [""]}, r"policy\.devices\[0\]: found ''"),
        ({"devices": ["\ud800"]}, r"devices\[0\]"),
        ({"devices": ["d"] * 100_001}, "1 to 100000 device ids"),
        ({"segment": 3}, "name of a segment"),
        ({"segment": "unheard"}, "wanted one of the segments loop, bad"),
        ({"segment": "loop"}, "not inside itself"),
        ({"segment": "bad"}, r"segments\.bad\.device: found 1"),
        (DEEP, f"too large; wanted at most {DEPTH} levels"),
        ({"not": DEEP_LIST}, r"policy\.not: found"),
    ],
)  # fmt: skip
def test_refuses(policy, words):
    with pytest.raises(PolicyError, match=words) as caught:
        compile_policy(policy, {"loop": {"not": {"segment": "loop"}}, "bad": {"device": 1}})
    assert len(str(caught.value)) < 6000


def test_a_policy_within_itself():
    policy = {"all": []}
    policy["all"].append(policy)
    with pytest.raises(PolicyError, match="too large"):
        compile_policy(policy)


def test_segments_cannot_grow_without_bound():
    segments = {"s0": {"everyone": True}}
    for number in range(1, 30):
        segments[f"s{number}"] = {"all": [{"segment": f"s{number - 1}"}] * 2}
    with pytest.raises(PolicyError, match="too large"):
        compile_policy({"segment": "s29"}, segments)
    wide = {"all": [{"any": [{"everyone": True}] * 200}] * 200}
    with pytest.raises(PolicyError, match=f"at most {DEPTH} levels and {NODES} policies"):
        compile_policy(wide)


def test_depth_counts_through_segments_that_are_known():
    segments = {"s0": {"everyone": True}}
    for number in range(1, 40):
        segments[f"s{number}"] = {"not": {"segment": f"s{number - 1}"}}
    compiler = Compiler(segments)
    for number in range(15):
        compiler.compile({"segment": f"s{number}"})
    with pytest.raises(PolicyError, match="too large"):
        for number in range(15, 40):
            compiler.compile({"segment": f"s{number}"})


def test_segments_are_checked_before_anybody_asks():
    with pytest.raises(PolicyError, match=r"segments\.s\.device"):
        Compiler({"s": {"device": 1}}).check()
    Compiler({"s": {"everyone": True}, "t": {"segment": "s"}}).check()
