"""What differs between two versions of a task: files by their digests, and what is in them where they are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

import attrs
from markupsafe import Markup

from walle_deploy.errors import DeployError
from walle_deploy.manifest import File, Manifest
from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages.asking import Ask, Page
from walle_deploy.server.pages.site import sentence
from walle_deploy.store.files import FileStore
from walle_deploy.task.compare import compare

FILES, NUMBERS = 60, 200  # files in the table; versions to choose from
READ, READ_ALL = 4 << 20, 8 << 20  # bytes of a file, and of all files, that are read for one page
SHOWN, SHOWN_ALL = 12_000, 45_000  # characters of a file's differences, and of all of them
LINE = 500


@attrs.frozen
class Changed:
    """A file that differs."""

    path: str
    kind: str
    sizes: tuple[int, int]
    text: Markup
    note: str


def diff(ask: Ask) -> Page:
    """GET /diff/NAME."""
    task = ask.platform.task(ask.path["task"])
    numbers = [one.number for one in task.versions]
    if not numbers:
        raise ApiError(404, f"task {task.name} has no versions", "Push one first.")
    new = ask.number("new") or numbers[0]
    old = ask.number("old") or next((one for one in numbers if one < new), new)
    told, trouble = None, ""
    if old not in numbers or new not in numbers:
        trouble = f"Task {task.name} has no v{old if old not in numbers else new}."
    else:
        try:
            manifests = [Manifest.decode(ask.platform.manifest(task.name, number)) for number in (old, new)]
            told = _told(ask.files, *manifests)
        except DeployError as error:
            trouble = sentence(str(error))
    values = {
        "task": task, "numbers": numbers[:NUMBERS], "old": old, "new": new, "told": told, "problem": trouble,
    }  # fmt: skip
    return Page("diff.html", values, status=404 if trouble else 200)


def _told(store: FileStore | None, old: Manifest, new: Manifest) -> dict[str, Any]:
    before, after = ({file.path: file for file in one.files} for one in (old, new))
    paths = sorted(
        path for path in {*before, *after} if _content(before.get(path)) != _content(after.get(path))
    )
    read, shown, found = READ_ALL, SHOWN_ALL, []
    for path in paths[:FILES]:
        changed, read = _changed(store, path, before.get(path), after.get(path), read, shown)
        shown -= len(changed.text)
        found.append(changed)
    return {
        "files": found,
        "count": len(paths),
        "same": len({*before, *after}) - len(paths),
        "sizes": (old.size, new.size),
    }


def _content(file: File | None) -> tuple[str, bool] | None:
    return None if file is None else (file.sha256, file.exclusive)


def _changed(
    store: FileStore | None, path: str, old: File | None, new: File | None, read: int, shown: int
) -> tuple[Changed, int]:
    """The file, and how many bytes may still be read for others."""
    kind = "added" if old is None else "removed" if new is None else "changed"
    sizes = (0 if old is None else old.size, 0 if new is None else new.size)
    text, note = "", ""
    files = [file for file in (old, new) if file is not None]
    if store is None:
        note = "Its content is not at hand here."
    elif any(file.exclusive for file in files):
        note = "It is for one device only, and not shown."
    elif max(sizes) > READ or sum(sizes) > read:
        note = "It is too large to be compared here; walle task diff compares it."
    elif shown <= 0:
        note = "The page has enough already; walle task diff shows the rest."
    else:
        try:
            sides: list[Mapping[str, bytes]] = [
                {} if file is None else {path: store.read(file.sha256, limit=READ)} for file in (old, new)
            ]
            read -= sum(sizes)
            text = "".join(change.text for change in compare(sides[0], sides[1]))
            text = (
                dedent(text.partition("\n")[2]) if text.startswith(f"{path}: ") else text
            )  # the table has the sizes
        except DeployError as error:
            note = f"Its content is not at hand here: {error}"
    marked, cut = coloured(text, min(SHOWN, max(shown, 0)))
    return Changed(
        path, kind, sizes, marked, note or (f"{cut} more lines; walle task diff shows them." if cut else "")
    ), read


def coloured(text: str, most: int) -> tuple[Markup, int]:
    """Its first lines, those that came or went with a class of their own, and how many were left out."""
    lines, size = text.removesuffix("\n").split("\n") if text else [], 0
    made: list[Markup] = []
    for number, line in enumerate(lines):
        kind = {"+": "plus", "-": "minus", "@": "at"}.get(line[:1], "")
        if line.startswith(("+++ ", "--- ")) and number < 2:
            continue
        clean = "".join(sign if sign.isprintable() or sign == "\t" else "\ufffd" for sign in line[:LINE])
        part = (
            Markup('<span class="{}">{}</span>').format(kind, clean)
            if kind
            else Markup("<span>{}</span>").format(clean)
        )
        if (size := size + len(part)) > most:
            return Markup("").join(made), len(lines) - number
        made.append(part)
    return Markup("").join(made), 0
