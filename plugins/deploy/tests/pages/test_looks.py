"""What pages look like: whether everybody can use them, whether they fit, and their pictures."""

import threading

import pytest
from pages_browser import log_in, opened
from pages_world import PLAN
from walle_deploy.server.pages.shots import screenshots

WIDTHS = {"wide": (1280, 900), "narrow": (320, 700)}


@pytest.mark.parametrize("scheme, width", [("light", "wide"), ("dark", "narrow")])
def test_pages_are_accessible_and_fit(browser, site, scheme, width):
    """axe-core finds nothing by WCAG 2.2 A and AA, and nothing is wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    world, url = site
    release = world.platform.create_release("digits", 2, PLAN, "ada")
    world.run(60, bad=0.2)
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    with opened(browser, url, viewport=size, color_scheme=scheme, reduced_motion="reduce") as page:
        log_in(page, world.tokens["admin"])
        paths = ["/", "/tasks", "/tasks/digits", "/tasks/digits/policy", f"/releases/{release}", f"/releases/{release}/rollback", "/devices", "/devices/device-00003", "/explain?device=device-00003&task=digits", "/audit", "/diff/digits", "/cloud", "/nope"]  # fmt: skip
        for path in paths:
            page.goto(path)
            found = Axe().run(
                page,
                options={
                    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
                },
            )
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_pictures(browser, site, tmp_path):
    world, url = site
    world.platform.create_release("digits", 2, PLAN, "ada")
    world.run(40)
    made = []

    def take():  # playwright's own loop runs in this thread already
        made.extend(screenshots(url, world.tokens["admin"], tmp_path, schemes=["dark"], sizes=["narrow"]))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(60)
    names = {path.name.partition("-narrow")[0] for path in made}
    assert names >= {
        "login",
        "overview",
        "tasks",
        "task",
        "release-1",
        "rollback",
        "devices",
        "device",
        "explain",
        "audit",
        "cloud",
        "diff",
    }
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 2000 for path in made)
