"""ONNX's backend node tests on the interpreter of the reference backend, one test per case; gaps are strict."""

import numpy as np
import pytest

from walle_core.testing import node_tests

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'walle-core[onnx]'")
CASES = node_tests.cases()
LEAST = 1589  # what ONNX Runtime 1.32 passes of the 1,884 cases of onnx 1.23


@pytest.mark.parametrize("name", sorted(CASES))
def test_node(name):
    outcome = node_tests.run_case(CASES[name])
    if name in node_tests.GAPS:
        assert not outcome.passed, f"the gap is closed: remove {name} from node_tests.GAPS"
        assert outcome.reason == node_tests.GAPS[name]
    else:
        assert outcome.passed, outcome.reason


def test_gaps_name_cases_and_leave_enough():
    assert set(node_tests.GAPS) <= set(CASES)
    assert len(CASES) - len(node_tests.GAPS) >= LEAST


F = np.float32


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (np.array([1, 2], F), np.array([1, 3], F)),
        (np.array([1, 2], F), np.array([1, 2], np.float64)),
        (np.array([1, 2], F), np.array([[1, 2]], F)),
        (np.array([1, np.nan], F), np.array([1, 2], F)),
        (np.array([np.inf], F), np.array([-np.inf], F)),
        (np.array(["a", "b"], object), np.array(["a", "c"], object)),
        (np.array([1], F), [np.array([1], F)]),
        ([np.array([1], F)], np.array([1], F)),
        ([np.array([1], F)], [np.array([1], F), np.array([1], F)]),
        (None, np.array([1], F)),
        (np.array([1], F), None),
        (np.array([True]), np.array([1], np.int8)),
        (np.array([2**62 + 1]), np.array([2**62 - 2**60])),
    ],
)
def test_difference_is_seen(got, want):
    assert node_tests.difference(got, want, 1e-3, 1e-7)


@pytest.mark.parametrize(
    "value", [np.array([1, np.nan, np.inf], F), np.array(["a"], object), [np.array([1])], [], None]
)
def test_equal_values_do_not_differ(value):
    assert node_tests.difference(value, value, 1e-3, 1e-7) == ""


def test_a_wrong_answer_and_an_error_both_fail_a_case():
    case = CASES["test_abs"]
    assert "values differ" in node_tests.run_case(case, lambda graph, feeds: [np.asarray(feeds["x"])]).reason
    assert "outputs" in node_tests.run_case(case, lambda graph, feeds: []).reason
