"""The plugin as walle_core sees it: what it registers, and that loading it costs no process a module it does not use."""

import subprocess
import sys
from importlib import import_module

from walle_core.plugins import load_plugins

LIGHT = """
import sys
from walle_core.plugins import load_plugins
before = set(sys.modules)
import walle_deploy
from walle_deploy.policies import contract
heavy = {"msgspec", "mmh3", "numpy", "cryptography", "dulwich", "tuf", "obstore", "bsdiff4", "zstandard", "decimal", "asyncio"}
print(sorted(heavy & (set(sys.modules) - before)))
"""

ALONE = """
import sys
sys.modules["walle_pipeline"] = None
from walle_core.plugins import load_plugins
from walle_deploy.errors import TaskError
from walle_deploy.task.trigger import PatternText, compile_pattern
found = load_plugins()
assert "task" in found.commands and "uniform" in found.policies
try:
    compile_pattern(PatternText(page_visit="item"))
except TaskError as error:
    print(error)
"""


def test_the_command_is_registered():
    command = load_plugins().commands.get("task")
    assert command.summary
    assert set(import_module("walle_deploy.cli_task").command.commands) >= {"init", "check", "tag", "diff"}


def test_registering_imports_nothing_heavy():
    """C modules among them do not load in every interpreter (design 4.7)."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_loads_without_the_pipeline_and_says_what_triggers_need():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert "pip install walle-pipeline" in done.stdout
