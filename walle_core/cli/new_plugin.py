"""``walle new-plugin``."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from walle_core.cli.common import walle_command
from walle_core.errors import InputError

KINDS = ("backend",)
# Where each template file goes; the rest keep their place.
PLACES = {
    "gitignore": ".gitignore",
    "workflow.yml": ".github/workflows/test.yml",
    "src/plugin.py": "src/walle_{kind}_{name}/__init__.py",
    "tests/test_plugin.py": "tests/test_{name}.py",
}


@walle_command("walle new-plugin backend npu\nwalle new-plugin backend npu --out ~/walle-backend-npu")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False), help="Folder to write; default: walle-KIND-NAME.")
def command(kind: str, name: str, out: str | None) -> None:
    """Write the folder of a new plugin of KIND called NAME. It installs, and passes the conformance suite at once."""
    folder = Path(out or f"walle-{kind}-{name}").expanduser()
    written = write(kind, name, folder)
    for path in written:
        click.echo(f"  {path.relative_to(folder)}")
    click.echo(
        f"next: pip install -e {folder} && pytest --pyargs walle_core.testing.conformance --walle-backend {name}"
    )


def write(kind: str, name: str, folder: Path) -> list[Path]:
    """Writes the plugin and returns its files. Raises InputError if the name is unusable or the folder not empty."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} is no plugin name: use lower-case letters, digits and underscores, for example 'npu'"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; give another folder with --out")
    from walle_core import __version__

    words = {"@NAME@": name, "@CLASS@": name.title().replace("_", ""), "@VERSION@": __version__}
    written = []
    for source, text in _templates(files("walle_core") / "template" / kind, ""):
        place = PLACES.get(source, source).format(kind=kind, name=name)
        for word, value in words.items():
            text = text.replace(word, value)
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return sorted(written)


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".in"):
            found.append((prefix + entry.name.removesuffix(".in"), entry.read_text(encoding="utf-8")))
    return found
