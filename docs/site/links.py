"""Where a file of the repository is on the site, and links between files as links between pages."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
# Pages whose text lives outside docs/: page on the site -> file of the repository.
OUTSIDE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "examples.md": "examples/README.md",
    "plugins/deploy.md": "plugins/deploy/README.md",
    "plugins/pipeline.md": "plugins/pipeline/README.md",
}
_PAGES = {file: page for page, file in OUTSIDE.items()}
_FOLDERS = {"docs/adr": "adr/0001-pluggy-and-entry-points.md", "plugins/deploy": "plugins/deploy.md"}
_FOLDERS |= {"plugins/pipeline": "plugins/pipeline.md", "examples": "examples.md"}
_CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_BARE = re.compile(r"\[([^\[\]]*)\](?!\()")  # brackets that are no link, which a renderer would look up
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


def source_of(page: str) -> str:
    """The file of the repository that a page is made of."""
    return OUTSIDE.get(page, f"docs/{page}")


def page_of(file: str) -> str | None:
    """The page on the site of a file or folder of the repository; None if the site has none."""
    if found := _PAGES.get(file) or _FOLDERS.get(file):
        return found
    return file.removeprefix("docs/") if file.startswith("docs/") and file.endswith(".md") else None


def for_site(text: str, page: str) -> str:
    """The text of a page with its links turned.

    What is in the repository but not on the site becomes plain text; what is nowhere stays, and ends a strict build.
    """
    here = PurePosixPath(source_of(page)).parent

    def turned(match: re.Match[str]) -> str:
        picture, label, target, anchor = match.groups()
        file = os.path.normpath(here / target)
        found = page_of(file)
        if picture or (found is None and not (ROOT / file).exists()):
            return match[0]
        if found is None:
            return label
        return f"[{label}]({os.path.relpath(found, PurePosixPath(page).parent)}{anchor or ''})"

    parts = _CODE.split(text)  # text and code in turn
    parts[::2] = (_BARE.sub(r"\\[\1\\]", _LINK.sub(turned, part)) for part in parts[::2])
    return "".join(parts)
