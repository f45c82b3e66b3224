"""Code in the pipeline's documentation runs; each promise names a test that exists."""

import re
import sys
import types
from pathlib import Path

import pytest

from walle_core import plugins

ROOT = Path(__file__).resolve().parents[3]
TESTS = Path(__file__).resolve().parent


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_readme_code_runs(capsys):
    (code,) = blocks(TESTS.parent / "README.md")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "[{'user': 'ann', 'dwell_ms': 8000, 'events': 3}]\n"


def test_write_a_stream_operator_code_runs(capsys, monkeypatch):
    page = ROOT / "docs/write-a-stream-operator.md"
    if not page.exists():
        pytest.skip("skipped: not in a checkout")
    module = types.ModuleType("walle_stream_extra")
    monkeypatch.setitem(sys.modules, "walle_stream_extra", module)
    registry = plugins.load_plugins().stream_operators.copy("page")
    monkeypatch.setattr(plugins.load_plugins(), "stream_operators", registry)
    for code in blocks(page):
        exec(compile(code, page.name, "exec"), vars(module))
        if "walle_register_stream_operators" in code:
            module.walle_register_stream_operators(registry)
    assert capsys.readouterr().out == "[5, 100]\n[1.0]\n"


def test_every_promise_has_its_test():
    page = ROOT / "docs/pipeline-semantics.md"
    if not page.exists():
        pytest.skip("skipped: not in a checkout")
    there = set(re.findall(r"def (test_\w+)", "".join(p.read_text() for p in TESTS.rglob("*.py"))))
    text = page.read_text()
    named = set(re.findall(r"\[(test_\w+)\]", text))
    assert not named - there
    promises = [line for line in text.splitlines() if line.startswith("* ")]
    assert [p for p in promises if "[test_" not in p] == [
        "* A function that hangs in C code is interrupted only when it returns to Python."
    ]
