"""The deployment platform: tasks from git to devices, released in steps, rolled back by themselves."""

from __future__ import annotations

from typing import Any

from walle_core.hookspecs import hookimpl

__all__ = ["walle_register_commands", "walle_register_policies"]


@hookimpl
def walle_register_policies(registry: Any) -> None:
    """Registers the built-in kinds of policies."""
    from walle_deploy.policies.contract import register_built_in

    register_built_in(registry)


@hookimpl
def walle_register_commands(registry: Any) -> None:
    """Registers ``walle task``, ``walle agent``, ``walle deploy``, ``walle fleet`` and ``walle cloud``."""
    from walle_core.types import Command

    registry.add(
        Command("task", "Make, check, tag and compare tasks kept in git.", "walle_deploy.cli_task:command")
    )
    registry.add(Command("agent", "Run the agent of a device.", "walle_deploy.cli_agent:command"))
    registry.add(
        Command(
            "deploy",
            "Run the deployment server, and make its keys and tokens.",
            "walle_deploy.cli_deploy:command",
        )
    )
    registry.add(
        Command("fleet", "Simulate a fleet of devices and a release to it.", "walle_deploy.cli_fleet:command")
    )
    registry.add(
        Command("cloud", "Answer samples of which tasks are not confident.", "walle_deploy.cli_cloud:command")
    )
