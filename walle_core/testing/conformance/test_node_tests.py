"""ONNX's own node tests through the backend; what it cannot run falls back. Needs the package onnx, else one skip."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from walle_core.testing import node_tests

HAS_ONNX = find_spec("onnx") is not None
GAPS: dict[str, str] = getattr(node_tests, "GAPS", {})
NAMES = sorted(node_tests.cases()) if HAS_ONNX else []


@pytest.mark.skipif(not HAS_ONNX, reason="onnx is not installed: pip install 'walle-core[onnx]'")
def test_onnx_is_there() -> None:
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_onnx_node(backend: Any, name: str) -> None:
    outcome = node_tests.run_case(node_tests.cases()[name], node_tests.backend_runner(backend.name))
    gap = GAPS.get(name)
    if gap is not None:
        assert not outcome.passed, f"the gap is closed: remove {name} from node_tests.GAPS"
        pytest.xfail(gap)
    assert outcome.passed, outcome.reason
