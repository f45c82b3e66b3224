"""What a task's source may do, as far as its text shows."""

import pytest

from walle_core.vm import allow
from walle_core.vm.errors import PolicyError
from walle_core.vm.types import Policy


def refused(source, **policy):
    return [r.what for r in allow.check_source(source, Policy(**policy), modules=frozenset({"helper"}))]


@pytest.mark.parametrize(
    "source",
    [
        "import json, math as m\nfrom collections.abc import Mapping\nimport helper\nfrom helper import two",
        "from __future__ import annotations\nimport walle_core\nfrom walle_core import Tensor, matrix\nimport walle_core.cv",
        "def main(x):\n    import random\n    return random.random() + x.shape[0]",
        "compile = 1\nx = {'eval': compile}\nprint(open)",
    ],
)
def test_honest_tasks_pass(source):
    assert refused(source) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os", "imports 'os'"),
        ("from os import path", "imports 'os'"),
        ("def f():\n    import subprocess.x", "imports 'subprocess.x'"),
        ("from . import a", r"imports '\.'"),
        ("from ..a import b", r"imports '\.\.a'"),
        ("import numpy", "imports 'numpy'"),
        ("from walle_core import vm", r"imports 'walle_core\.vm'"),
        ("import walle_core.vm.process", r"imports 'walle_core\.vm\.process'"),
        ("from walle_core import cli, Tensor", r"imports 'walle_core\.cli'"),
        ("eval('1')", r"calls eval\(\)"),
        ("__import__('os')", r"calls __import__\(\)"),
        ("open('/etc/passwd')", r"calls open\(\)"),
        ("().__class__.__bases__", "reaches into the interpreter by __bases__"),
        ("x.__subclasses__()", "by __subclasses__"),
        ("__builtins__", "by __builtins__"),
    ],
)
def test_what_is_not_granted_is_found(source, what):
    (found,) = allow.check_source(source, Policy())
    assert (
        __import__("re").match(what, found.what)
        or what in found.what
        or __import__("re").search(what, found.what)
    )
    assert found.fix and found.line >= 1


@pytest.mark.parametrize(
    ("source", "policy"),
    [
        ("import os, io\nopen('a')", {"read": ["/a"]}),
        ("import pathlib", {"write": ["/a"]}),
        ("import socket, ssl, urllib.request", {"network": True}),
        ("import numpy.linalg", {"numpy": True}),
        ("import scipy.stats", {"imports": {"scipy"}}),
        ("import walle_core.train", {"imports": {"walle_core", "walle_core.train"}}),
    ],
)
def test_grants_grant(source, policy):
    assert refused(source)
    assert refused(source, **policy) == []


def test_own_imports_stand_in_for_the_list():
    assert refused("import json", imports=[]) == ["imports 'json', which the policy does not grant"]
    assert refused("from __future__ import annotations", imports=[]) == []


def test_findings_come_by_line_and_once():
    found = allow.check_source("import os; import os\n\neval('1')\nimport sys\n", Policy())
    assert [f.line for f in found] == [1, 3, 4]


@pytest.mark.parametrize(
    "source", ["def", b"\xff\xfe\x00", "x = '\x00'", "(" * 500 + ")" * 500, "-" * 100_000 + "1"]
)
def test_what_is_no_python_is_an_error(source):
    with pytest.raises(PolicyError, match="no Python"):
        allow.check_source(source, Policy(), name="t")
