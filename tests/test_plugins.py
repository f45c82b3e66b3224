"""A broken plugin costs one line in the report and nothing else."""

from __future__ import annotations

import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from walle_core import plugins
from walle_core.errors import PluginError, UnsupportedError
from walle_core.ops import CATALOGUE, catalogue, find
from walle_core.registry import Registry

HEAD = """
from walle_core.hookspecs import hookimpl

class Toy:
    version = "1"
    known_gaps = {}
    traits = None
    def __init__(self, name): self.name = name
    def devices(self): return []
    def candidates(self, node, specs, constants): return []
    def prepare(self, graph, choices, threads, precision): raise NotImplementedError
    def calibrate(self, device, threads, progress): raise NotImplementedError
"""

GOOD = """
@hookimpl
def walle_register_backends(registry):
    registry.add(Toy("good"))
"""

BROKEN = {
    "import": ("import no_such_module_at_all", "ModuleNotFoundError"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "abi": (
        """
from walle_core.errors import PluginError
@hookimpl
def walle_register_backends(registry):
    registry.add(Toy("half"))
    raise PluginError("kernel table ABI 2, walle_core speaks 1: upgrade walle-core")
""",
        "kernel table ABI 2, walle_core speaks 1",
    ),
    "duplicate": (
        """
@hookimpl
def walle_register_backends(registry):
    registry.add(Toy("half"))
    registry.add(Toy("good"))
""",
        "already registered by 'a_good'",
    ),
    "misspelt": ("@hookimpl\ndef walle_register_backend(registry): pass", "misspelt hook"),
    "unmarked": ("def walle_register_backends(registry): pass", "not marked with @hookimpl"),
    "arguments": ("@hookimpl\ndef walle_register_backends(register): pass", "walle_register_backends"),
    "empty": ("x = 1", "implements no hook"),
    "raises": (
        "@hookimpl\ndef walle_register_policies(registry): raise RuntimeError('boom\\nbang')",
        "boom bang",
    ),
    "protocol": (
        "class Bad:\n    name = 'bad'\n@hookimpl\ndef walle_register_backends(registry): registry.add(Bad())",
        "lacks calibrate, candidates, devices, known_gaps, prepare, traits, version of the protocol Backend",
    ),
    "nameless": ("@hookimpl\ndef walle_register_policies(registry): registry.add(object())", "has no name"),
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(catalogue())

    def write(name: str, body: str, head: str = HEAD) -> EntryPoint:
        module = f"toyplugin_{name}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(head + textwrap.dedent(body))
        return EntryPoint(name, module, plugins.GROUP)

    yield write
    CATALOGUE.clear()
    CATALOGUE.update(before)


@pytest.mark.parametrize("case", BROKEN)
def test_broken_plugin_is_one_line_and_leaves_no_trace(plugin, case: str) -> None:
    body, message = BROKEN[case]
    entries = [plugin("a_good", GOOD), plugin(case, body), plugin("z_last", GOOD.replace('"good"', '"last"'))]
    found = plugins.build(entries)
    assert [row.status for row in found.report.values()] == ["loaded", "failed", "loaded"]
    assert message in found.report[case].error
    assert "\n" not in found.report[case].error
    assert list(found.backends) == ["good", "last"]
    assert list(found.failed) == [case]


def test_all_broken_at_once(plugin) -> None:
    entries = [plugin("a_good", GOOD), *(plugin(name, body) for name, (body, _) in BROKEN.items())]
    found = plugins.build(entries)
    assert set(found.failed) == set(BROKEN)
    assert list(found.backends) == ["good"]


@pytest.mark.parametrize("case", BROKEN)
def test_strict_mode_raises(plugin, case: str) -> None:
    body, message = BROKEN[case]
    with pytest.raises(PluginError, match=case):
        plugins.build([plugin("a_good", GOOD), plugin(case, body)], strict=True)


def test_strict_mode_and_blocklist_come_from_the_environment(plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [plugin("a_good", GOOD), plugin("broken", "raise ValueError('no')")]
    core = plugin("core", GOOD.replace('"good"', '"own"'))
    monkeypatch.setattr(plugins, "_entries", lambda: [core, *entries])
    monkeypatch.setattr(plugins, "_loaded", [])
    monkeypatch.setenv("WALLE_STRICT_PLUGINS", "1")
    monkeypatch.delenv("WALLE_PLUGINS_BLOCK", raising=False)
    with pytest.raises(PluginError, match="broken"):
        plugins.load_plugins()
    monkeypatch.setenv("WALLE_PLUGINS_BLOCK", "broken, core")
    found = plugins.load_plugins()
    assert found.report["broken"].status == "blocked"
    assert list(found.backends) == ["own", "good"]
    assert plugins.load_plugins() is found


def test_blocked_plugin_is_not_imported(plugin) -> None:
    found = plugins.build([plugin("bad", "raise ValueError('imported')")], blocked={"bad"})
    assert found.report["bad"].status == "blocked"
    assert not found.failed


def test_two_distributions_with_one_name(plugin) -> None:
    first, second = plugin("a_good", GOOD), plugin("other", GOOD.replace('"good"', '"second"'))
    found = plugins.build([first, EntryPoint("a_good", second.value, plugins.GROUP)])
    assert list(found.backends) == ["good"]
    assert "another distribution" in next(iter(found.failed.values()))
    assert found.report["a_good"].status == "loaded"


def test_report_says_what_a_plugin_offers(plugin) -> None:
    found = plugins.build([plugin("a_good", GOOD)])
    assert found.report["a_good"].offers == {"backends": ("good",)}
    assert found.backends.added_by("good") == "a_good"


OPERATOR = """
from walle_core.ops.define import make

def twice(g, x):
    return g.Add(x, x)

@hookimpl
def walle_register_operators(registry):
    registry.add(make("ToyTwice", "composite", "toy", decompose=twice))
"""


def test_operator_joins_the_catalogue_only_with_its_plugin(plugin) -> None:
    found = plugins.build([plugin("ops", OPERATOR)])
    assert find("ToyTwice") is found.operators["ToyTwice"]
    assert find("ToyTwice").input_names == ("x",)


def test_operator_of_a_failed_plugin_is_gone(plugin) -> None:
    fails = "\n@hookimpl\ndef walle_register_policies(registry): raise RuntimeError('late')\n"
    decorated = "\nfrom walle_core.ops.define import composite\n@composite('ToyDecorated', 'toy')\ndef f(g, x): return x\n"
    found = plugins.build([plugin("ops", OPERATOR + decorated + fails)])
    assert "late" in found.failed["ops"]
    assert find("ToyTwice") is None
    assert find("ToyDecorated") is None


def test_operator_defined_by_decorator_is_attributed(plugin) -> None:
    body = """
from walle_core.ops.define import composite
@composite('ToyDecorated', 'toy')
def f(g, x): return x
@hookimpl
def walle_register_policies(registry): pass
"""
    found = plugins.build([plugin("ops", body)])
    assert found.operators.added_by("ToyDecorated") == "ops"


def test_observer_sees_events_and_cannot_break_the_step(plugin) -> None:
    body = """
seen = []
@hookimpl
def walle_on_event(event):
    seen.append(event.kind)
    if event.kind == "toy.bad": raise RuntimeError("observer broke")
"""
    entry = plugin("watch", body)
    found = plugins.build([entry, plugin("z_good", GOOD)])
    found.notify("toy.good", value=1)
    found.notify("toy.bad")
    found.notify("toy.after")
    assert entry.load().seen == ["plugin.loaded", "plugin.loaded", "toy.good", "toy.bad"]
    assert "observer broke" in found.report["watch"].error


def test_registry_names_what_it_has() -> None:
    registry: Registry[object] = Registry("backend")
    registry.add(object(), name="reference")
    with pytest.raises(
        UnsupportedError, match="no backend 'referense'; installed: reference; did you mean 'reference'"
    ):
        registry.get("referense")
    with pytest.raises(PluginError, match="already registered by 'core'"):
        registry.add(object(), name="reference")
    draft = registry.copy("other")
    draft.add(object(), name="more")
    assert "more" not in registry
    assert draft.added_by("more") == "other"


def test_all_commands_can_be_resolved_in_one_process() -> None:
    """`walle plugins` is a module beside the program: importing it must not hide what finds the commands."""
    import click

    from walle_core.cli import program

    context = click.Context(program, info_name="walle")
    names = program.list_commands(context)
    assert "plugins" in names
    for name in ["plugins", *names]:
        assert isinstance(program.get_command(context, name), click.Command)
