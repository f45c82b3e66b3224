"""Pictures of the dashboard, taken by a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from walle_deploy.errors import DeployError

SIZES = {"desktop": (1280, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 10_000
LATEST, TRIED = 3, 5  # releases that get a picture of their own; tasks that are looked at for one to start


def browser_path() -> str:
    """The installed Chromium. Raises DeployError if there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise DeployError(
            "pictures of the dashboard need Chromium, which is not installed; apt-get install chromium"
        )
    return found


def screenshots(
    base_url: str,
    token: str,
    out_dir: str | Path,
    *,
    schemes: Sequence[str] = SCHEMES,
    sizes: Sequence[str] = tuple(SIZES),
) -> list[Path]:
    """Saves a picture of every kind of page, light and dark, on a wide and on a narrow screen; returns their paths.

    Args:
        base_url: of the server.
        token: of an operator, best of an admin: others see fewer buttons.
        out_dir: folder for the pictures; made if it is not there.
        schemes: of SCHEMES.
        sizes: of SIZES.

    Raises:
        DeployError: if there is no Chromium or no playwright, or the server does not let the operator in.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise DeployError("pictures of the dashboard need playwright; pip install playwright") from error
    out, made = Path(out_dir), []
    out.mkdir(parents=True, exist_ok=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
            for scheme in schemes:
                for size in sizes:
                    width, height = SIZES[size]
                    page = browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,  # type: ignore[arg-type]
                        reduced_motion="reduce",
                        ignore_https_errors=True,
                    )
                    page.set_default_timeout(WAIT_MS)
                    for name in _visited(page, base_url.rstrip("/"), token):
                        made.append(out / f"{name}-{size}-{scheme}.png")
                        page.screenshot(path=made[-1], full_page=True)
                    page.close()
            browser.close()
    except Error as error:
        raise DeployError(f"pictures of {base_url}: {str(error).splitlines()[0]}") from error
    return made


def _visited(page: Any, base: str, token: str) -> Iterator[str]:
    """Opens one page after the other, and tells the name of each for its picture."""
    page.goto(f"{base}/login")
    yield "login"
    page.fill("#token", token)
    page.click("main button")
    if page.url.endswith("/login"):
        raise DeployError(f"{base} does not let this operator in; use a token of an admin")
    yield "overview"
    releases = _links(page, "/releases/")
    page.goto(f"{base}/tasks")
    yield "tasks"
    tasks = _links(page, "/tasks/")
    for number, path in enumerate(releases[:LATEST], 1):
        page.goto(f"{base}{path}")
        yield f"release-{number}"
        if number == 1 and page.locator("#do-rollback").count():
            page.click("#do-rollback")
            yield "rollback"
    page.goto(f"{base}/devices")
    yield "devices"
    devices = _links(page, "/devices/")
    if tasks:
        page.goto(f"{base}{tasks[0]}")
        yield "task"
        yield from _started(page, base, tasks)
        page.goto(f"{base}/diff/{tasks[0].rpartition('/')[2]}")
        yield "diff"
    if devices:
        page.goto(f"{base}{devices[0]}")
        yield "device"
    if devices and tasks:
        page.goto(f"{base}/explain")
        page.fill("#device", page.evaluate("path => decodeURIComponent(path)", devices[0].rpartition("/")[2]))
        page.fill("#task", tasks[0].rpartition("/")[2])
        page.click("main form button.primary")
        page.locator("#verdict").wait_for()
        yield "explain"
    if page.locator('nav a[href="/cloud"]').count():
        page.goto(f"{base}/cloud")
        yield "cloud"
    page.goto(f"{base}/audit")
    yield "audit"


def _started(page: Any, base: str, tasks: Sequence[str]) -> Iterator[str]:
    """The way to a release of the first task that has none under way; nothing is started."""
    for path in tasks[:TRIED]:
        page.goto(f"{base}{path}/release")
        if page.locator("#version").count():
            yield "start"
            page.click("main form button.primary")
            yield "plan"
            return


def _links(page: Any, start: str) -> list[str]:
    """The paths of links in the page's content that begin so, each once."""
    found = page.eval_on_selector_all("main a[href]", "links => links.map(link => link.getAttribute('href'))")
    return list(dict.fromkeys(path for path in found if path.startswith(start) and "?" not in path))
