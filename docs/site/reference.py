"""Reference pages: which public names there are is asked of the packages, what they do of their docstrings."""

from __future__ import annotations

from collections.abc import Mapping

import click

# The deployment platform has no names of its own at the top: these modules are what programs import.
DEPLOY = (
    "walle_deploy.agent.agent", "walle_deploy.agent.settings", "walle_deploy.client.api", "walle_deploy.client.types",
    "walle_deploy.simulate", "walle_deploy.fleet.running", "walle_deploy.hooks.piggyback", "walle_deploy.hooks.middleware",
    "walle_deploy.release.plan", "walle_deploy.release.sequential", "walle_deploy.release.machine", "walle_deploy.errors",
)  # fmt: skip
AREAS = (
    "walle_core.cv",
    "walle_core.audio",
    "walle_core.text",
    "walle_core.vm",
    "walle_core.hookspecs",
    "walle_core.protocols",
    "walle_core.types",
    "walle_core.errors",
)


def core() -> str:
    """Names of walle_core, then its areas."""
    import walle_core

    homes = {**dict.fromkeys(walle_core.__all__, "errors"), **walle_core._HOMES, "backends": "engines"}
    names = {name: f"walle_core.{home}" for name, home in homes.items() if home != "errors"}
    lines = ["# walle_core", "", walle_core.__doc__.splitlines()[0], ""]
    return "\n".join([*lines, *_names(names), *_modules(AREAS)])


def pipeline() -> str:
    """Names of walle_pipeline."""
    import walle_pipeline

    names = {name: f"walle_pipeline.{home}" for name, home in walle_pipeline._HOMES.items()}
    return "\n".join(["# walle_pipeline", "", walle_pipeline.__doc__.splitlines()[0], "", *_names(names)])


def deploy() -> str:
    """Modules of walle_deploy."""
    import walle_deploy

    return "\n".join(["# walle_deploy", "", walle_deploy.__doc__.splitlines()[0], "", *_modules(DEPLOY)])


def commands() -> str:
    """Help of all commands, as `--help` prints it."""
    from walle_core.cli import program
    from walle_core.plugins import load_plugins

    lines = ["# Commands", "", "What `walle COMMAND --help` prints; some come with plugins.", ""]
    context = click.Context(program, info_name="walle")
    for name in sorted(load_plugins().commands):
        if (command := program.get_command(context, name)) is not None:
            lines += _help(command, f"walle {name}", context, 2)
    return "\n".join(lines)


def _names(homes: Mapping[str, str]) -> list[str]:
    return [line for name, home in sorted(homes.items()) for line in (f"::: {home}.{name}", "")]


def _modules(modules: tuple[str, ...]) -> list[str]:
    options = ("    options:", "      show_root_full_path: true", "")
    return [line for module in modules for line in (f"::: {module}", *options)]


def _help(command: click.Command, name: str, parent: click.Context, level: int) -> list[str]:
    context = click.Context(
        command,
        info_name=name.rsplit(maxsplit=1)[-1],
        parent=parent,
        max_content_width=100,
        terminal_width=100,
    )
    lines = [f"{'#' * level} {name}", "", "```text", click.unstyle(command.get_help(context)), "```", ""]
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            lines += _help(command.get_command(context, each), f"{name} {each}", context, level + 1)
    return lines


PAGES = {
    "reference/walle_core.md": core,
    "reference/walle_pipeline.md": pipeline,
    "reference/walle_deploy.md": deploy,
    "reference/commands.md": commands,
}
