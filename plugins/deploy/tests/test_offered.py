"""Release gates and delta codecs of other plugins, through the hook of policies."""

import sys
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import pytest
from walle_deploy.deltas.contract import codecs
from walle_deploy.offered import installed_gates, offered
from walle_deploy.policies import PolicyKind, installed_kinds
from walle_deploy.release.gates import Verdict

from walle_core import plugins


class Weekday(msgspec.Struct, frozen=True):
    """A plugin's gate."""

    kind: ClassVar[str] = "weekday"
    day: str

    def check(self, view):
        return Verdict(self.day == "monday", f"it is {self.day}")


class Time(msgspec.Struct, frozen=True):
    kind: ClassVar[str] = "time"  # taken


class Same:
    """A plugin's codec."""

    name = "same"

    def make(self, old, new):
        return b"" if old == new else None

    def apply(self, old, delta, size):
        return old


class Broken:
    def __init__(self):
        raise ZeroDivisionError


@pytest.fixture
def registered(monkeypatch):
    """A plugin that registers some of them, right and wrong."""
    module = SimpleNamespace(Weekday=Weekday, Time=Time, Same=Same, Broken=Broken)
    monkeypatch.setitem(sys.modules, "walle_test_offered", module)
    kinds = installed_kinds().copy("test")
    for name, target, kind in (
        ("weekday", "Weekday", "gate"), ("time", "Time", "gate"), ("monthly", "Weekday", "gate"), ("lost", "Lost", "gate"),
        ("same", "Same", "codec"), ("broken", "Broken", "codec"),
    ):  # fmt: skip
        kinds.add(PolicyKind(name, f"walle_test_offered:{target}", kind))
    found = SimpleNamespace(policies=kinds)
    monkeypatch.setattr(plugins, "load_plugins", lambda: found)


def test_gates_of_a_plugin_are_kinds_of_gates(registered, caplog):
    found = installed_gates()
    assert set(found.kinds) == {"time", "sample", "approval", "metric", "budget", "weekday"}
    assert found.kinds["time"] is not Time
    assert found.gate({"kind": "weekday", "day": "monday"}, "here").check(None).met
    for name in ("time", "monthly", "lost"):
        assert f"gate {name} is left out" in caplog.text


def test_codecs_of_a_plugin_come_after_those_of_this_package(registered, caplog):
    assert list(codecs())[-1] == "same"
    assert set(offered("codec")) == {"same", "broken"}
    assert "codec broken is left out" in caplog.text


def test_without_such_plugins_there_are_those_of_this_package():
    assert set(installed_gates().kinds) == {"time", "sample", "approval", "metric", "budget"}
    assert "same" not in codecs()
