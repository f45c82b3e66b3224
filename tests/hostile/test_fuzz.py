"""Damaged models from file to result on every backend: a result or a WalleError; equal results where all give one.

`python tests/hostile/worker.py SEEDS 123 1 1` repeats case 123 and prints what each backend made of it.
"""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from driver import survey
from seeds import seeds

PROCESSES = 2
CASES = 60_000 if os.environ.get("WALLE_FULL") else 1_600


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The seed models in a file that workers read."""
    path = tmp_path_factory.mktemp("seeds") / "seeds.pickle"
    path.write_bytes(pickle.dumps(seeds()))
    return path


def test_damaged_models_end_in_a_result_or_an_error(stored):
    with ThreadPoolExecutor(PROCESSES) as pool:
        each = CASES // PROCESSES
        found = list(pool.map(lambda i: survey(stored, i, each, PROCESSES), range(PROCESSES)))
    problems = [p for listed, _ in found for p in listed]
    ends = {kind for _, counts in found for kind in counts}
    assert not problems, "\n".join(problems[:20])
    assert {"ok", "ModelError", "ShapeError", "BackendError"} <= ends  # the damage reaches every stage


def test_a_worker_that_dies_is_a_problem(stored, monkeypatch):
    """The survey sees crashes and goes on behind them."""
    monkeypatch.setenv("WALLE_CRASH_AT", "3")
    problems, ends = survey(stored, 0, 6)
    assert len(problems) == 1
    assert "case 3: the process ended with -" in problems[0]
    assert sum(ends.values()) == 5
