"""Finds plugins, isolates the broken ones, and holds the registries that the working ones filled."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from walle_core import hookspecs
from walle_core.errors import PluginError
from walle_core.installed import Entry, blocked_plugins, entry_points, strict_plugins
from walle_core.ops import CATALOGUE, OpDef, catalogue
from walle_core.protocols import Backend, CostModel, Frontend, Saver
from walle_core.registry import Registry
from walle_core.types import Command, Event

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "walle"
CORE, CORE_MODULE = "core", "walle_core.builtin"  # the core's own offers come through the same hooks

KINDS = (
    "operators",
    "backends",
    "cost_models",
    "frontends",
    "savers",
    "commands",
    "policies",
    "stream_operators",
)


@attrs.frozen
class PluginReport:
    """What became of one plugin.

    Attributes:
        name: of its entry point.
        status: ``loaded``, ``failed`` or ``blocked``.
        target: the module that the entry point names.
        distribution, version: what installed it; "" if not known.
        offers: kind -> names it registered.
        error: one line; "" when nothing went wrong.
    """

    name: str
    status: str
    target: str
    distribution: str = ""
    version: str = ""
    offers: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    error: str = ""


class Plugins:
    """Registries filled by plugins, and a report with one line per plugin.

    Attributes:
        operators, backends, cost_models, frontends, savers, commands, policies, stream_operators: what is installed.
        report: plugin name -> PluginReport; a second plugin of one name is listed as ``name (distribution)``.
    """

    def __init__(self) -> None:
        self.operators: Registry[OpDef] = Registry("operator", OpDef)
        self.backends: Registry[Backend] = Registry("backend", Backend)
        self.cost_models: Registry[CostModel] = Registry("cost model", CostModel)
        self.frontends: Registry[Frontend] = Registry("frontend", Frontend)
        self.savers: Registry[Saver] = Registry("saver", Saver)
        self.commands: Registry[Command] = Registry("command", Command)
        self.policies: Registry[Any] = Registry("policy")
        self.stream_operators: Registry[Any] = Registry("stream operator")
        self.report: dict[str, PluginReport] = {}
        self._observers: dict[str, Callable[..., Any]] = {}
        self._strict = False

    def notify(self, kind: str, **data: Any) -> None:
        """Tells every observer that a step has happened; an observer that raises is not called again."""
        event = Event(kind, data)
        for name, observe in list(self._observers.items()):
            try:
                observe(event=event)
            except Exception as error:
                if self._strict:
                    raise PluginError(f"plugin {name!r}: observing {kind} failed: {_line(error)}") from error
                del self._observers[name]
                self.report[name] = attrs.evolve(self.report[name], error=f"observer: {_line(error)}")

    @property
    def failed(self) -> dict[str, str]:
        """Plugin name -> why it could not be loaded."""
        return {name: row.error for name, row in self.report.items() if row.status == "failed"}


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"


def build(
    entries: Iterable[Entry | EntryPoint], *, strict: bool = False, blocked: Iterable[str] = ()
) -> Plugins:
    """Loads the given entry points, in order, into fresh registries.

    A plugin that fails leaves no trace but its line in the report. Raises PluginError instead if `strict`.
    """
    found = Plugins()
    found._strict = strict
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    catalogue()  # definitions of the core must not be taken for those of the plugin that happens to ask first
    refused = set(blocked)
    for entry in entries:
        distribution, version = _origin(entry)
        key = (
            entry.name if entry.name not in found.report else f"{entry.name} ({distribution or entry.value})"
        )
        row = PluginReport(key, "blocked", entry.value, distribution, version)
        if entry.name in refused:
            found.report[key] = attrs.evolve(row, error="blocked by WALLE_PLUGINS_BLOCK")
            continue
        try:
            offers = _load(manager, entry, key, found)
        except (Exception, SystemExit) as error:
            if (
                strict or entry.value == CORE_MODULE
            ):  # a core that cannot load is a broken installation, not a plugin's fault
                raise PluginError(f"plugin {key!r} ({entry.value}): {_line(error)}") from error
            found.report[key] = attrs.evolve(row, status="failed", error=_line(error))
            found.notify("plugin.failed", name=key, error=_line(error))
        else:
            found.report[key] = attrs.evolve(row, status="loaded", offers=offers)
            found.notify("plugin.loaded", name=key)
    return found


def _origin(entry: Entry | EntryPoint) -> tuple[str, str]:
    if isinstance(entry, Entry):
        return entry.distribution, entry.version
    try:
        return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("", "")
    except Exception:  # broken metadata of a distribution must not hide its plugin
        return "", ""


def _load(
    manager: pluggy.PluginManager, entry: Entry | EntryPoint, key: str, found: Plugins
) -> dict[str, tuple[str, ...]]:
    if key != entry.name:
        raise PluginError(
            f"another distribution already provides a plugin named {entry.name!r}; uninstall one"
        )
    before = dict(CATALOGUE)
    plugin = None
    try:
        plugin = entry.load()
        if manager.is_registered(plugin):
            raise PluginError(f"{entry.value} is already loaded as {manager.get_name(plugin)!r}")
        manager.register(plugin, name=key)
        _check_hooks(manager, plugin)
        drafts = {kind: getattr(found, kind).copy(key) for kind in KINDS}
        others = [p for p in manager.get_plugins() if p is not plugin]
        for kind in KINDS:
            manager.subset_hook_caller(f"walle_register_{kind}", others)(registry=drafts[kind])
        for name in [n for n in CATALOGUE if n not in before and n not in drafts["operators"]]:
            drafts["operators"].add(CATALOGUE[name])  # defined by decorator while the plugin was imported
    except BaseException:
        CATALOGUE.clear()
        CATALOGUE.update(before)
        if plugin is not None and manager.get_name(plugin) == key:
            manager.unregister(plugin)
        raise
    for kind, draft in drafts.items():
        setattr(found, kind, draft)
    CATALOGUE.update(drafts["operators"].items())
    if hasattr(plugin, "walle_on_event"):
        found._observers[key] = manager.subset_hook_caller("walle_on_event", others)
    return {kind: tuple(draft.of(key)) for kind, draft in drafts.items() if draft.of(key)}


def _check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"misspelt hook: {error}; docs/hooks.md lists the hooks") from error
    implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    for name, value in vars(plugin).items() if inspect.ismodule(plugin) else ():
        if name.startswith("walle_") and inspect.isroutine(value) and name not in implemented:
            raise PluginError(f"function {name} is not marked with @hookimpl")
    if not implemented:
        raise PluginError("implements no hook; docs/hooks.md lists the hooks")


def _entries() -> list[Entry | EntryPoint]:
    """The core, then what is installed, by name."""
    return [Entry(CORE, CORE_MODULE), *entry_points(GROUP)]


_loaded: list[Plugins] = []
_lock = threading.RLock()


def load_plugins() -> Plugins:
    """The plugins of this process, loaded at the first call.

    Environment: ``WALLE_STRICT_PLUGINS=1`` raises PluginError for a broken plugin; ``WALLE_PLUGINS_BLOCK=a,b`` leaves
    plugins out by name.
    """
    if not _loaded:
        with _lock:
            if not _loaded:
                _loaded.append(build(_entries(), strict=strict_plugins(), blocked=blocked_plugins() - {CORE}))
    return _loaded[0]


def reset() -> None:
    """Forgets what was loaded, so that the next `load_plugins` starts over; for tests."""
    with _lock:
        _loaded.clear()
