"""Both versions run the same matches; only a version that is worse is called worse."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_world import task
from walle_deploy.simulate import Limits, simulate
from walle_deploy.simulate.compared import Difference
from walle_deploy.simulate.exact import differs, tail, worse
from walle_deploy.simulate.sums import WORDS, Distribution, Histogram, Moments
from walle_deploy.simulate.verdict import judge

posix = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)
LENIENT = Limits(failures=1.0)


@posix
def test_a_version_that_fails_more_often_is_refused(log):
    found = simulate(task("assert clicks != 5"), [log], baseline=task(), limits=LENIENT)
    pairs = found.part.pairs
    assert found.verdict == "failed"
    assert "worse than the baseline" in found.why
    assert (pairs.new_only, pairs.old_only, pairs.both) == (found.new.failed, 0, 0)
    assert pairs.p_value < 0.01


@posix
def test_a_version_that_fails_less_often_passes(log):
    found = simulate(task("assert clicks != 7"), [log], baseline=task("assert clicks < 7"), limits=LENIENT)
    pairs = found.part.pairs
    assert found.passed
    assert pairs.both == found.new.failed > 0
    assert pairs.old_only > 0 == pairs.new_only
    assert pairs.p_value == 1.0


@posix
def test_the_same_version_differs_in_nothing(log):
    found = simulate(task(), [log], baseline=task())
    assert found.passed
    assert found.part.pairs.disagree == 0
    assert found.part.pairs.neither == 120
    assert 0.2 < found.part.pairs.ratios.quantile(0.5) < 5


@posix
def test_outputs_that_differ_are_counted(log):
    found = simulate(task("clicks = clicks + 100 * (clicks > 5)"), [log], baseline=task())
    score = found.part.pairs.outputs["score"]
    assert found.passed
    assert 0 < score.differ == score.higher == found.part.pairs.disagree < 120
    assert score.most == 100.0
    assert score.decisions == score.differ  # the second element is the largest now
    assert found.part.pairs.outputs["n"].differ == 0
    verdict, why = judge(found.part, found.again, Limits(disagree=0.01), 2000)
    assert verdict == "failed"
    assert "differ from the baseline's" in why


@posix
def test_a_baseline_that_cannot_run_is_told_and_left_out(log):
    found = simulate(task(), [log], baseline=task(before="raise OSError"))
    assert found.passed
    assert found.old is None
    assert "compared with nothing" in str(found)
    assert "compared with nothing" in simulate(task(), [log], baseline={}).notes[0]


@posix
def test_a_baseline_that_hangs_is_not_waited_for_again_and_again(log, impatient):
    hangs = task("while clicks == 5: pass", time_ms=20)
    found = simulate(task(), [log], baseline=hangs, limits=Limits(patience=1))
    assert found.passed
    assert found.new.runs == 120 > found.old.runs
    assert found.old.of_kind("time") == 1
    assert "the baseline was not run further" in str(found)


# -- the tests themselves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trials", "chance", "wanted"),
    [(0, 0, 0.5, 1.0), (1, 1, 0.5, 0.5), (5, 5, 0.5, 1 / 32), (2, 3, 0.5, 0.5), (1, 10, 0.1, 1 - 0.9**10), (3, 2, 0.5, 0.0)],
)  # fmt: skip
def test_tails_of_the_binomial(hits, trials, chance, wanted):
    assert tail(hits, trials, chance) == pytest.approx(wanted)


def test_large_samples_do_not_overflow():
    assert tail(50_300, 100_000) == pytest.approx(0.0291, abs=2e-4)
    assert worse(100_000, 0) == 0.0
    assert worse(0, 100_000) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_p_values_agree_with_a_count_of_all_ways(new, old):
    from math import comb

    exact = sum(comb(new + old, k) for k in range(new, new + old + 1)) / 2 ** (new + old)
    assert worse(new, old) == pytest.approx(exact)
    assert differs(new, old) == differs(old, new) <= 1.0
    assert differs(new, old) >= worse(max(new, old), min(new, old))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 200), st.floats(0.0, 1.0), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_comparison_raises_no_more_false_alarms_than_declared(seed, matches, rate, alpha):
    """Two versions that fail at one rate, on matches of any number: alarms come with probability alpha at most."""
    rng = random.Random(seed)
    trials = 200
    alarms = 0
    for _ in range(trials):
        pairs = [(rng.random() < rate, rng.random() < rate) for _ in range(matches)]
        alarms += worse(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)) <= alpha
    assert tail(alarms, trials, alpha) > 1e-7  # else so many alarms are not what alpha allows


# -- sums -----------------------------------------------------------------------------------------------------------------

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(NUMBERS, st.floats(0.01, 1.0))
def test_quantiles_are_right_within_one_percent(numbers, share):
    import math

    held = Histogram()
    for number in numbers:
        held.add(number)
    exact = sorted(numbers)[max(1, math.ceil(share * len(numbers))) - 1]
    assert held.quantile(share) == pytest.approx(exact, rel=0.0101, abs=2e-12)


@given(NUMBERS, NUMBERS)
def test_parts_add_up(first, second):
    parts = [Distribution(), Distribution()]
    whole = Distribution()
    for part, numbers in zip(parts, (first, second), strict=True):
        for number in numbers:
            part.add(number)
            whole.add(number)
    parts[0].merge(parts[1])
    assert parts[0].histogram == whole.histogram
    one, other = parts[0].moments, whole.moments
    assert (one.count, one.low, one.high) == (other.count, other.low, other.high)
    assert one.mean == pytest.approx(other.mean, abs=1e-6)
    assert one.deviation == pytest.approx(other.deviation, rel=1e-6, abs=1e-5)


def test_values_that_are_no_numbers_are_counted():
    held = Distribution()
    for value in [float("nan"), float("inf"), 10**400, "a", "a", None, [1], {"b": 1}, True]:
        held.add(value)
    assert held.odd == 3
    assert held.words == {"'a'": 2, "NoneType": 1, "list": 1, "dict": 1}
    assert held.moments.count == 1
    for number in range(100):
        held.add(f"word {number}")
    assert len(held.words) == WORDS + 1
    assert "not finite" in str(held)


def test_empty_sums_say_nothing():
    assert str(Distribution()) == "none"
    assert Histogram().quantile(0.5) != Histogram().quantile(0.5)
    both = Moments()
    both.merge(Moments())
    assert both.deviation == 0.0


@pytest.mark.parametrize(
    ("new", "old", "other"),
    [(1, 1.0, False), (1.0, 1.0005, False), (1.0, 1.01, True), ("a", "a", False), ("a", "b", True), (1, "a", True),
     (float("nan"), float("nan"), False), (float("inf"), 1.0, True), ([1], [1], False), (None, None, False)],
)  # fmt: skip
def test_what_counts_as_different(new, old, other):
    assert Difference().add(new, old) is other
