"""The figures that the platform promises of its test, on fewer runs than benchmarks/deploy_release.py has."""

import os

import numpy as np
import pytest
from walle_deploy.release.power import Arrays, simulate
from walle_deploy.release.sequential import Failures

FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
RUNS, REPORTS = (2000, 20_000) if FULL else (200, 4000)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_arrays_say_what_the_state_says(share):
    rng, runs = np.random.default_rng(1), 3
    arrays, states = Arrays(runs), [Failures()] * runs
    for _ in range(1500):
        treated, failed = rng.random(runs) < share, rng.random(runs) < 0.1
        arrays.add(np.arange(runs), treated, failed)
        states = [
            state.add(treated=bool(t), failed=bool(f))
            for state, t, f in zip(states, treated, failed, strict=True)
        ]
    assert [state.log_e for state in states] == pytest.approx(arrays.log_e.tolist())
    assert arrays.totals[0].tolist() == [state.treatment.reports for state in states]
    assert arrays.totals[3].tolist() == [state.control.failed for state in states]


def test_five_percent_against_one_is_stopped_after_350_reports_per_arm():
    stops = simulate(0.05, 0.01, runs=1000, reports=5000, seed=2)
    assert stops.quantile(0.5) <= 350
    assert stops.share == 1.0


@pytest.mark.parametrize(("rate", "share"), [(0.001, None), (0.01, None), (0.01, 0.9), (0.1, 0.5)])
def test_healthy_releases_are_kept(rate, share):
    assert simulate(rate, rate, runs=RUNS, reports=REPORTS, share=share, seed=3).share <= 0.01


def test_a_margin_lets_small_differences_pass():
    assert simulate(0.02, 0.01, runs=100, reports=10_000, seed=4).share > 0.8
    assert simulate(0.02, 0.01, runs=100, reports=10_000, margin=2.5, seed=4).share <= 0.02
