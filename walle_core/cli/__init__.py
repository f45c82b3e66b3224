"""The ``walle`` program: a shell around commands that the core and plugins register."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from walle_core import plugins as installed  # walle_core.cli.plugins, the command, would take the name
from walle_core.errors import PluginError, WalleError
from walle_core.types import Command

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def resolve(command: Command) -> click.Command:
    """The click command that `command` names. Raises PluginError if there is none."""
    module, _, attribute = command.target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise PluginError(f"command {command.name!r}: {command.target} cannot be loaded: {error}") from error
    if not isinstance(found, click.Command):
        raise PluginError(f"command {command.name!r}: {command.target} is no click command")
    return found


class Program(click.Group):
    """Finds its commands in the registry and imports one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of registration."""
        return list(installed.load_plugins().commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        commands = installed.load_plugins().commands
        return resolve(commands.get(cmd_name)) if cmd_name in commands else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists summaries without importing the commands."""
        rows = [(c.name, c.summary) for c in installed.load_plugins().commands.values()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"walle-core {version('walle-core')}")
        except PackageNotFoundError:
            click.echo("walle-core (not installed)")
        ctx.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
def program() -> None:
    """Run ML models on whatever is installed; the machine decides which backend is fastest.

    \b
    walle plugins                              what is installed
    walle rank model.onnx --measure            which backend runs it fastest, and why
    walle run model.onnx --input cat.jpg       classify a photo
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code: 0, 2 for a mistake that one line on stderr explains, 130 for Ctrl-C."""
    try:
        outcome = program.main(args=argv, prog_name="walle", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" Try '{context.command_path} --help'." if context is not None else ""
        click.echo(f"walle: {' '.join(error.format_message().split())}{hint}", err=True)
        return EXIT_ERROR
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (WalleError, OSError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        click.echo(f"walle: {text}", err=True)
        return EXIT_ERROR
    return outcome if isinstance(outcome, int) else 0
