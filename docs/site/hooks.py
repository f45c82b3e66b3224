"""What MkDocs asks while it builds the site: pages from elsewhere in the repository, the reference, links, pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import links
import pictures
import reference


def on_config(config: Any) -> Any:
    """Puts the decisions into the navigation."""
    adrs = sorted(path.name for path in Path(config.docs_dir, "adr").glob("*.md"))
    explanation = next(
        part["Explanation"] for part in config.nav if isinstance(part, dict) and "Explanation" in part
    )
    (decisions,) = (part for part in explanation if isinstance(part, dict) and "Decisions" in part)
    decisions["Decisions"] = [f"adr/{name}" for name in adrs if not name.startswith("0000")]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds what is not in docs/."""
    for page, file in links.OUTSIDE.items():
        files.append(File.generated(config, page, content=(links.ROOT / file).read_text(encoding="utf-8")))
    for page, made in reference.PAGES.items():
        files.append(File.generated(config, page, content=made()))
    for name, picture in pictures.draw(Path(config.site_dir).parent / "pictures").items():
        files.append(File.generated(config, f"explanation/pictures/{name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between files into links between pages."""
    return links.for_site(markdown, page.file.src_uri)
