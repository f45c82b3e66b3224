"""``walle task compile``: a task's scripts as signed bytecode, one form per Python that is here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from walle_core.cli.common import json_option, milliseconds, print_json, print_table, progress, walle_command
from walle_deploy.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walle_core.vm.types import Policy
    from walle_deploy.task.config import TaskConfig

SUFFIX = ".wtask"


@walle_command(
    "walle task compile --key ~/.ssh/id_ed25519\n"
    "walle task compile v3 --python 3.12 --python 3.13 --no-source -o ipv.wtask\n"
    "walle task compile --python 3.14=/opt/python3.14/bin/python3.14"
)
@click.argument("revision", required=False)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="VERSION[=PROGRAM]",
    help="Default: 3.11, 3.12, 3.13, as far as they are here.",
)
@click.option(
    "--optimize",
    type=click.IntRange(0, 2),
    default=2,
    show_default=True,
    help="1: no asserts; 2: no docstrings either.",
)
@click.option("--lines/--no-lines", default=True, help="Line numbers in tracebacks.")
@click.option("--source/--no-source", default=True, help="Also the text, for Pythons without bytecode.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Default: NAME.wtask.")
@click.option(
    "--key", metavar="FILE", envvar="WALLE_SIGNING_KEY", help="Ed25519 key; default: git's user.signingkey."
)
@json_option
def compile_(
    revision: str | None,
    pythons: tuple[str, ...],
    optimize: int,
    lines: bool,
    source: bool,
    output: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Compile the scripts of the folder, or of a REVISION, into one signed package.

    Bytecode of a version is made by that Python, found on PATH or under pyenv. What walle.toml does not grant is refused here. A
    device loads only what its signers have signed and its own Python has made.
    """
    from walle_core.vm.compiling import compile_task
    from walle_deploy.cli_task import _here, _key
    from walle_deploy.task.config import FILE, parse

    tree = _here()
    files = tree.scenario.files(tree.task, revision) if revision else tree.files()
    if FILE not in files:
        raise TaskError(f"{FILE} is missing; `walle task init NAME` writes an example")
    config = parse(files[FILE])
    wanted = _wanted(pythons)
    with progress("compiling"):
        made = compile_task(
            config.task.name, _sources(files, config), _key(key, tree).sign, entry=config.task.entry, policy=_policy(config),
            pythons=wanted, optimize=optimize, lines=lines, source=source,
        )  # fmt: skip
    if missing := [v for v in made.missing if pythons]:
        raise TaskError(
            f"Python {', '.join(missing)} is not here; name its program: --python {missing[0]}=PROGRAM"
        )
    path = Path(output or f"{config.task.name}{SUFFIX}")
    try:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(made.data)
        temporary.replace(path)
    except OSError as error:
        raise TaskError(f"{path}: the package cannot be written: {error.strerror}") from error
    if as_json:
        print_json({
            "file": str(path), "bytes": len(made.data), "forms": [
                {"python": f.python, "bytes": f.bytes, "packed": f.packed, "load_ms": None if f.load_s is None else f.load_s * 1e3}
                for f in made.forms
            ], "missing": made.missing,
        })  # fmt: skip
        return
    rows = [(f.python, f.bytes, f.packed, milliseconds(f.load_s)) for f in made.forms]
    print_table(("form", ">bytes", ">packed", ">load ms"), rows)
    click.echo(f"{path}: {len(made.data)} bytes")
    if made.missing:
        click.echo(f"not here, so their devices compile the source: Python {', '.join(made.missing)}")


def _wanted(pythons: tuple[str, ...]) -> list[str] | dict[str, str]:
    """Versions, or these with their programs where one is named."""
    from walle_core.vm.compiling import find_python

    if not pythons:
        return ["3.11", "3.12", "3.13"]
    rows = [text.partition("=") for text in pythons]
    return {version: program or find_python(version) or "" for version, _, program in rows}


def _sources(files: Mapping[str, bytes], config: TaskConfig) -> dict[str, str]:
    """Module name -> text; the script is "main"."""
    sources: dict[str, str] = {}
    for path, data in files.items():
        if not path.endswith(".py"):
            continue
        name = "main" if path == config.task.script else path.removesuffix(".py")
        if not name.isidentifier():
            raise TaskError(
                f"{path}: modules of a compiled task lie beside its script, in no folder; move it there"
            )
        if name in sources:
            raise TaskError(
                f"{path}: there are two modules {name!r}; the script is called main when it is compiled"
            )
        if name in sys.stdlib_module_names:
            raise TaskError(f"{path}: hides the standard module {name!r}; rename it")
        try:
            sources[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TaskError(f"{path}: no UTF-8: {error}") from error
    if "main" not in sources:
        raise TaskError(
            f"there is no file {config.task.script!r}, which {config.task.name} names as its script"
        )
    return sources


def _policy(config: TaskConfig) -> Policy:
    from walle_core.vm.allow import DEFAULT
    from walle_core.vm.types import Policy

    return Policy(imports=DEFAULT | frozenset(config.task.modules), numpy=config.task.numpy)


COMMANDS: dict[str, Any] = {"compile": compile_}
