"""The documentation site is built without a warning, and everybody can read it. The long form only: it takes a minute."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("", "tutorial/", "explanation/search/", "reference/walle_core/", "examples/")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RULES = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not os.environ.get("WALLE_FULL"), reason="skipped: set WALLE_FULL=1; builds the site"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_reference_and_pictures_are_there(site: Path) -> None:
    assert 'id="walle_core.session.Session"' in (site / "reference/walle_core/index.html").read_text()
    assert (
        'id="walle_pipeline.pipeline.Pipeline"' in (site / "reference/walle_pipeline/index.html").read_text()
    )
    assert 'id="walle_deploy.agent.agent.Agent"' in (site / "reference/walle_deploy/index.html").read_text()
    assert "walle fleet simulate" in (site / "reference/commands/index.html").read_text()
    pictures = list((site / "explanation/pictures").glob("*.svg"))
    assert len(pictures) == 5
    assert all(picture.stat().st_size > 1000 for picture in pictures)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_for_everybody(site: Path, scheme: str, width: int) -> None:
    """By axe-core, without requests to anybody else, and no wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        pytest.skip("skipped: no Chromium")
    from playwright.sync_api import sync_playwright

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            ).new_page()
            others: list[str] = []
            page.on(
                "request",
                lambda request: None if request.url.startswith(here) else others.append(request.url),
            )
            for name in PAGES:
                page.goto(here + name, wait_until="load")
                found = axe.Axe().run(page, options={"runOnly": list(RULES)}).response["violations"]
                assert not [(name, each["id"], each["nodes"][0]["target"]) for each in found]
                assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), name
            assert not others
            browser.close()
        server.shutdown()
