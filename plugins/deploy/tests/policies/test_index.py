"""The index agrees with asking every rule, whatever comes and goes."""

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_strategies import SEGMENTS, policies, profiles
from walle_deploy.errors import PolicyError
from walle_deploy.policies import Compiler, Matcher, Rule, compile_policy
from walle_deploy.policies.clauses import MOST, clauses
from walle_deploy.policies.rules import AnyOf, Everyone
from walle_deploy.profile import Profile


def naive(rules, profile):
    return tuple(sorted(name for name, rule in rules.items() if rule.verdict(profile) is True))


@given(st.lists(policies, max_size=25), st.lists(profiles, min_size=1, max_size=12))
@settings(deadline=None, max_examples=300)
def test_agrees_with_every_rule(some, devices):
    compiler = Compiler(SEGMENTS)
    matcher = Matcher({f"p{n}": compiler.compile(policy) for n, policy in enumerate(some)})
    for profile in devices:
        wanted = naive(matcher.rules, profile)
        assert matcher.match(profile) == wanted
        assert matcher.match(profile) == wanted, "from what is remembered"
        assert matcher.index.match(profile) == wanted
    assert not matcher.index.failures


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 9), policies),
            st.tuples(st.just("remove"), st.integers(0, 9), st.none()),
            st.tuples(st.just("ask"), st.none(), profiles),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=150)
def test_agrees_while_policies_come_and_go(steps):
    compiler, matcher, rules = Compiler(SEGMENTS), Matcher(), {}
    for what, number, given_ in steps:
        name = f"p{number}"
        if what == "add":
            rules[name] = compiler.compile(given_)
            matcher.add(name, rules[name])
        elif what == "remove":
            if name in rules:
                del rules[name]
                matcher.remove(name)
            else:
                with pytest.raises(PolicyError, match="cannot be removed"):
                    matcher.remove(name)
        else:
            assert matcher.match(given_) == naive(rules, given_)


@given(policies, profiles)
@settings(deadline=None, max_examples=300)
def test_clauses_keep_the_meaning(policy, profile):
    rule = Compiler(SEGMENTS).compile(policy)
    for yes in (True, False):
        some = clauses(rule, yes)
        assert len(some) <= MOST
        found = any(all(literal.verdict(profile) is True for literal in clause) for clause in some)
        assert found is (rule.verdict(profile) is yes)


def test_many_alternatives():
    pairs = {"all": [{"any": [{"device": {"a": n}}, {"device": {"b": n}}]} for n in range(12)]}
    many = {"any": [{"device": {"a": n}} for n in range(200)]}
    matcher = Matcher({"pairs": compile_policy(pairs), "many": compile_policy(many)})
    assert len(clauses(matcher.rules["pairs"])) <= MOST
    assert matcher.match(Profile("d", {"a": 199})) == ("many",)
    assert matcher.match(Profile("d", {"a": 1, "b": 1})) == ("many",)
    assert matcher.match(Profile("d", {"a": 200})) == ()


def test_shared_salts_are_indexed():
    rules = {f"p{n:03}": compile_policy({"uniform": {"salt": "s", "ppm": n * 10_000}}) for n in range(101)}
    rules |= {
        f"n{n:03}": compile_policy({"not": {"uniform": {"salt": "s", "ppm": n * 10_000}}}) for n in range(101)
    }
    matcher = Matcher(rules)
    assert matcher.index.shares
    for number in range(300):
        profile = Profile(f"d{number}")
        found = matcher.match(profile)
        assert found == naive(rules, profile)
        assert len(found) == 101


def test_epochs_and_what_is_remembered(profile):
    matcher = Matcher({"a": Everyone()}, remembered=2)
    epoch = matcher.epoch
    assert matcher.known(profile.digest) is None
    assert matcher.match(profile) == ("a",)
    assert matcher.known(profile.digest) == ("a",)
    assert matcher.refresh() == epoch, "nothing changed"
    matcher.add("b", Everyone())
    assert matcher.known(profile.digest) is None
    assert matcher.match(profile) == ("a", "b")
    assert matcher.epoch == epoch + 1
    for number in range(10):
        assert matcher.match(Profile(f"d{number}")) == ("a", "b")
    assert len(matcher._state[2]) <= 2


def test_an_update_that_fails_changes_nothing(profile):
    matcher = Matcher({"a": Everyone()})
    for bad in ({"b": Everyone(), "c": None}, {"b": Everyone(), "c": 3}, {"b": Everyone(), 3: Everyone()}):
        with pytest.raises(PolicyError):
            matcher.update(bad)
        assert matcher.match(profile) == ("a",)
    matcher.update({"a": None, "": Everyone()})
    assert matcher.match(profile) == ("",)


class Broken(Rule):
    def verdict(self, profile):
        raise ZeroDivisionError("no")

    def label(self):
        return "broken"


def test_a_rule_that_raises_matches_nothing_and_is_named(profile):
    matcher = Matcher({"a": AnyOf((Broken(), Broken())), "b": Everyone()})
    assert matcher.match(profile) == ("b",)
    assert matcher.index.failures == {"a": "ZeroDivisionError: no"}


def test_values_that_python_takes_for_equal():
    rules = {
        "true": compile_policy({"all": [{"device": {"a": {"ne": "x"}}}, {"device": {"a": True}}]}),
        "both": compile_policy({"any": [{"device": {"a": {"ne": 1}}}, {"device": {"a": {"ne": True}}}]}),
        "bool": compile_policy({"device": {"a": {"ne": False}}}),
        "one": compile_policy({"device": {"a": 1}}),
        "zero": compile_policy({"device": {"a": {"ne": 0}}}),
    }
    matcher = Matcher(rules)
    for value in (1, True, 1.0, 0, False, 0.0, -0.0, "1", ["1"], 2, True, 1):
        profile = Profile("d", {"a": value})
        assert matcher.index.match(profile) == naive(rules, profile)


def test_hostile_profiles_leave_no_memory_behind():
    rules = {
        f"p{n}": compile_policy({"device": {f"a{n % 5}": {"contains": "x", "ne": "y"}}}) for n in range(20)
    }
    rules |= {f"q{n}": compile_policy({"device": {f"a{n % 5}": {"ge": n}}}) for n in range(20)}
    matcher = Matcher(rules, remembered=100)
    for number in range(12_000):
        matcher.match(
            Profile(f"d{number}", {f"a{number % 5}": number / 7, f"z{number}": 1, "a9": [str(number)]})
        )
    index = matcher.index
    assert len(index.shapes) <= 1024
    assert all(len(f.by_value) <= 1024 and len(f.by_class) <= 1024 for f in index.device.values())


def test_many_threads_ask_while_one_changes():
    matcher = Matcher({"always": Everyone()}, remembered=50)
    wrong, stop = [], threading.Event()

    def ask():
        number = 0
        while not stop.is_set():
            number += 1
            if "always" not in matcher.match(Profile(f"d{number % 500}", {"n": number % 97})):
                wrong.append(number)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        matcher.add(f"p{number % 7}", compile_policy({"device": {"n": {"ge": number}}}))
        if number % 10 == 9:
            matcher.remove(f"p{number % 7}")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_many_bounds(sign):
    rules = {f"n{n}": compile_policy({"device": {"a": f"{sign}{n % 150}"}}) for n in range(300)}
    rules |= {f"v{n}": compile_policy({"device": {"a": f"{sign}1.{n}.1"}}) for n in range(200)}
    rules |= {f"k{n}": compile_policy({"device": {"a": {"le": n, "ge": n - 3}}}) for n in range(100)}
    matcher = Matcher(rules)
    values = [
        0,
        -1,
        63,
        64,
        65,
        149,
        150,
        12.5,
        1e300,
        "0",
        "64",
        "1.64.1",
        "1.64",
        "1.199.2",
        "x",
        "",
        True,
        ["64"],
    ]
    for value in [*values, *range(120, 150), *(f"1.{n}.1" for n in range(60, 70))]:
        profile = Profile("d", {"a": value})
        assert matcher.index.match(profile) == naive(rules, profile)


def test_large_answers_are_remembered_within_bounds():
    matcher = Matcher({f"p{n}": Everyone() for n in range(100)}, remembered=50)
    for number in range(100):
        assert len(matcher.match(Profile(f"d{number}"))) == 100
        assert sum(map(len, matcher._state[2].values())) <= 16 * 50 + 100


def test_the_first_names_are_the_first_of_all():
    rng = random.Random(5)
    made = {}
    for number in range(300):
        share = {"uniform": {"salt": f"s{number % 40}", "percent": rng.choice([1, 30, 100])}}
        kind = {"any": [{"device": {"os": rng.choice(["ios", "android"])}}, {"user": {"age": {"ge": 20}}}]}
        made[f"p{number}"] = compile_policy({"all": [share, kind]} if number % 3 else kind)
    index = Matcher(made).index
    for number in range(50):
        profile = Profile(
            f"d{number}", {"os": rng.choice(["ios", "android"])}, {"age": rng.randrange(15, 40)}
        )
        every = index.match(profile)
        for most in (1, 7, len(every), len(every) + 1, 1000):
            assert index.match(profile, most) == every[:most]


def test_a_share_of_all_devices_is_never_drawn():
    shares = {
        name: {"uniform": {"salt": name, "percent": percent}} for name, percent in (("a", 100), ("b", 99))
    }
    made = Matcher({name: compile_policy(policy) for name, policy in shares.items()})
    assert [salt is None for salt in made.index.salts] == [True, False]
    assert {made.match(Profile(f"d{number}")) for number in range(1000)} == {("a",), ("a", "b")}
