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


def test_the_command_is_registered():
    command = load_plugins().commands.get("task")
    assert command.summary
    assert set(import_module("walle_deploy.cli_task").command.commands) >= {"init", "check", "tag", "diff"}


def test_registering_imports_nothing_heavy():
    """C modules among them do not load in every interpreter (design 4.7)."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
