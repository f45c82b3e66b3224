"""The hooks: everything that a plugin can offer. Hooks register; they never compute.

A plugin is a module named by an entry point of the group ``walle``; it marks the hooks that it implements:

    from walle_core.hookspecs import hookimpl

    @hookimpl
    def walle_register_backends(registry):
        registry.add(NpuBackend())

Common to every ``walle_register_*`` hook: it is called once per process, when plugins are loaded, on the thread that
loads them; it returns nothing; what it adds becomes visible only when the whole plugin has loaded. If it raises, or
adds a name that is taken, or an object that lacks a member of its protocol, all that this plugin added is dropped,
`walle plugins` shows one line with the reason and everything else works; with ``WALLE_STRICT_PLUGINS=1`` the error is
raised. An implementation may leave out arguments that it does not need; hooks gain arguments but never lose them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from typing import Any

    from walle_core.ops.define import OpDef
    from walle_core.protocols import Backend, CostModel, Frontend, Saver
    from walle_core.registry import Registry
    from walle_core.types import Command, Event

PROJECT = "walle"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def walle_register_operators(registry: Registry[OpDef]) -> None:
    """Offer operator definitions: atomic, transform, composite, control flow.

    When and how often: once per process, before any other hook of the same plugin, so that a plugin may offer an
    operator and a backend that runs it. Thread: the one that loads plugins.
    Result: each definition joins the catalogue under its name; every backend then runs it, by its own kernel or by
    the definition's decomposition, and the conformance kit tests it.
    Raising: the plugin is dropped as a whole; none of its operators stays in the catalogue.
    """


@hookspec
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Offer compute backends. Must not open a device: `Backend.devices` does that when it is first asked.

    When and how often: once per process, also in processes that never run a model, therefore it must be cheap.
    Thread: the one that loads plugins; the backend itself may later be called from any thread.
    Result: the semi-auto search considers the backend for every graph, by predicted time and never by order.
    Raising: the plugin is dropped as a whole. A backend whose device is missing does not raise: `devices` is empty.
    """


@hookspec
def walle_register_cost_models(registry: Registry[CostModel]) -> None:
    """Offer cost models, named ``backend`` or ``backend/device``.

    When and how often: once per process, after the plugin's backends. Thread: the one that loads plugins.
    Result: the search asks the most specific model for the seconds of each candidate, on any thread; a backend
    without one is priced by the default model, ``default``.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_register_stream_operators(registry: Registry[Any]) -> None:
    """Offer stream operators, event sources, sinks and tunnel transports of the data pipeline.

    When and how often: once per process. Thread: the one that loads plugins; operators run on the pipeline's threads.
    Result: flows refer to them by name.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_register_policies(registry: Registry[Any]) -> None:
    """Offer deployment policies, release gates and delta codecs.

    When and how often: once per process. Thread: the one that loads plugins; policies are called by server workers.
    Result: releases refer to them by name.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_register_frontends(registry: Registry[Frontend]) -> None:
    """Offer model formats that load into a Graph.

    When and how often: once per process. Thread: the one that loads plugins; `load` runs on the caller's thread.
    Result: `walle.load` asks every frontend whose `sniff` accepts the first bytes of a file, then those whose
    `suffixes` match; more than one taker is an error, not an order.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_register_savers(registry: Registry[Saver]) -> None:
    """Offer model formats that a Graph can be written in; a format that can be read too is one object for both hooks.

    When and how often: once per process. Thread: the one that loads plugins; `save` runs on the caller's thread.
    Result: `walle_core.saving.save` and `walle convert` take the saver whose `suffixes` has the ending of the file's
    name; more than one is an error, not an order.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_register_commands(registry: Registry[Command]) -> None:
    """Offer commands under the ``walle`` program.

    When and how often: once per process, also outside the program: register a `Command` that names its target as
    ``module:attribute``, which is imported only when the command is run or asked for help. Thread: the one that
    loads plugins.
    Result: ``walle NAME`` runs the target, a click command.
    Raising: the plugin is dropped as a whole.
    """


@hookspec
def walle_on_event(event: Event) -> None:
    """Observe what Walle does: plugin loading, preparation of graphs, rollout steps.

    When and how often: when such a step has happened, never per tensor, per operator or per record. A plugin sees
    events from the end of its own loading on. Thread: the one on which the step happened; keep it short.
    Result: none is used; an observer cannot change or stop the step.
    Raising: the observer is not called again and `walle plugins` shows why; the step itself is unaffected, unless
    ``WALLE_STRICT_PLUGINS=1``, which raises.
    """
