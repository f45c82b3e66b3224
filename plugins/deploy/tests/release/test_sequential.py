"""The tests that roll a release back: exact small cases, false alarms, power, intervals."""

import itertools
import math
import random

import msgspec
import pytest
from walle_deploy.release.means import Interval, Means
from walle_deploy.release.sequential import BLOCK, RATIOS, Failures, bets, log_likelihood


def feed(state, rng, treated_rate, control_rate, per_arm, alpha=0.01):
    """Alternating reports until the release is refuted; how many per arm that took, or None."""
    for number in range(1, per_arm + 1):
        for treated, rate in ((True, treated_rate), (False, control_rate)):
            state = state.add(treated=treated, failed=rng.random() < rate)
            if state.worse(alpha):
                return state, number
    return state, None


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
@pytest.mark.parametrize(("treated", "control"), [(4, 4), (7, 4), (4, 11)])
def test_a_block_is_an_e_variable_whatever_the_base_rate_is(rate, treated, control):
    def mass(n, k):
        return math.comb(n, k) * rate**k * (1 - rate) ** (n - k)

    for ratio in (1.3, 5.0, 64.0):
        expected = sum(
            mass(treated, mine)
            * mass(control, other)
            * math.exp(
                log_likelihood(ratio, treated, mine, control, other)
                - log_likelihood(1.0, treated, mine, control, other)
            )
            for mine, other in itertools.product(range(treated + 1), range(control + 1))
        )
        assert expected == pytest.approx(1.0)


def test_a_smaller_odds_ratio_than_the_margin_only_lowers_the_expectation():
    def expected(true):
        law = [math.exp(log_likelihood(true, 4, mine, 4, 3 - mine)) for mine in range(4)]
        return sum(
            p
            * math.exp(log_likelihood(5.0, 4, mine, 4, 3 - mine) - log_likelihood(2.0, 4, mine, 4, 3 - mine))
            for mine, p in enumerate(law)
        )

    assert expected(2.0) == pytest.approx(1.0)
    assert expected(1.0) < 1.0
    assert expected(0.3) < expected(1.0)


def test_stakes_are_one_in_all_and_above_the_margin():
    for margin in (1.0, 1.5, 2.0):
        stakes = [math.exp(stake) for stake in bets(margin)]
        assert sum(stakes) == pytest.approx(1.0)
        assert all(stake == 0 for stake, ratio in zip(stakes, RATIOS, strict=True) if ratio <= margin)


def test_a_bad_release_is_refuted_soon():
    found = sorted(feed(Failures(), random.Random(seed), 0.05, 0.01, 3000)[1] for seed in range(60))
    assert found[30] <= 350


def test_healthy_releases_are_kept():
    refuted = [feed(Failures(), random.Random(seed), 0.01, 0.01, 2000)[1] for seed in range(60)]
    assert sum(found is not None for found in refuted) <= 2


def test_a_better_release_is_never_refuted():
    state, found = feed(Failures(), random.Random(1), 0.01, 0.05, 3000)
    assert found is None
    assert state.e_value < 0.1
    assert state.interval(0.05)[1] < 1


def test_unequal_arms():
    rng, state = random.Random(2), Failures()
    while not state.worse(0.01):
        treated = rng.random() < 0.9
        state = state.add(treated=treated, failed=rng.random() < (0.05 if treated else 0.01))
    assert 20 < state.control.reports < 1000
    assert state.treatment.reports > 5 * state.control.reports


def test_the_interval_covers_the_odds_ratio():
    missed = 0
    for seed in range(40):
        state = run(seed)
        low, high = state.interval(0.05)
        assert low < high
        missed += not low <= (0.1 / 0.9) / (0.05 / 0.95) <= high
    assert missed <= 3


def run(seed):
    rng, state = random.Random(seed), Failures()
    for _ in range(800):
        state = state.add(treated=True, failed=rng.random() < 0.10)
        state = state.add(treated=False, failed=rng.random() < 0.05)
    return state


def test_states_keep_their_size_and_come_back_exactly():
    sizes = []
    for reports in (10, 3000):
        state, _ = feed(Failures(), random.Random(3), 0.02, 0.02, reports, alpha=1e-9)
        data = msgspec.msgpack.encode(state)
        assert msgspec.msgpack.decode(data, type=Failures) == state
        sizes.append(len(data))
    assert max(sizes) < 700


def test_one_arm_alone_says_nothing():
    state = Failures()
    for _ in range(1000):
        state = state.add(treated=True, failed=True)
    assert state.e_value == 1.0
    assert state.p_value == 1.0
    assert state.interval(0.01) == (0.0, math.inf)
    for _ in range(BLOCK):
        state = state.add(treated=False, failed=False)
    assert state.e_value > 10


def latency(margin=20.0, sign=1):
    return Means(0.0, 1000.0, margin, sign, Interval(0.01))


def values(state, rng, treated_mean, control_mean, per_arm):
    for number in range(1, per_arm + 1):
        state = state.add(rng.gauss(treated_mean, 60), treated=True)
        state = state.add(rng.gauss(control_mean, 60), treated=False)
        if state.worse(0.01):
            return state, number
    return state, None


def test_a_slower_version_is_refuted_and_one_within_the_margin_is_not():
    assert values(latency(), random.Random(1), 300, 200, 2000)[1] < 500
    state, found = values(latency(), random.Random(2), 210, 200, 3000)
    assert found is None
    low, high = state.by()
    assert low < 10 < high < 40


def test_lower_may_be_worse():
    assert values(latency(sign=-1), random.Random(3), 100, 200, 2000)[1] < 500
    assert values(latency(sign=-1), random.Random(3), 300, 200, 2000)[1] is None


def test_values_beyond_the_range_are_cut_to_it():
    state = latency()
    for _ in range(50):
        state = state.add(1e9, treated=True).add(-1e9, treated=False)
    assert state.treatment.mean == 1000.0
    assert state.worse(0.01)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Means) == state
