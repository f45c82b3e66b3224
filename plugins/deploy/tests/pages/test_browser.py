"""Every flow in a real browser: with scripts, without them, by keyboard alone, light and dark, wide and narrow."""

import re
import time

import pytest
from pages_browser import log_in, opened
from pages_world import HTML, PLAN


def start(page, gray="50"):
    page.get_by_role("link", name="Tasks", exact=True).click()
    page.get_by_role("link", name="digits", exact=True).click()
    page.get_by_role("link", name="Start a release").click()
    page.get_by_label("Version").select_option("2")
    page.get_by_label("Gray steps in percent").fill(gray)
    page.get_by_label("Minutes a stage lasts at least").fill("")
    page.get_by_label("Reports wanted of each arm").fill("")
    page.get_by_role("button", name="Show the plan").click()
    assert page.get_by_role("heading", name="Release digits v2?").is_visible()
    page.get_by_role("button", name="Start the release").click()
    page.wait_for_url("**/releases/*")
    return int(re.search(r"/releases/(\d+)", page.url)[1])


def act(page, name, why=""):
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_label("Reason").fill(why)
    page.get_by_role("button", name=name, exact=True).click()
    page.locator("p.note.good").wait_for()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_all_flows(browser, site, scripts):
    world, url = site
    with opened(browser, url, java_script_enabled=scripts) as page:
        log_in(page, world.tokens["admin"])
        release = start(page)
        world.run(60)
        page.goto(f"/releases/{release}")
        assert "0 of 1 approvals" in page.locator("#line").inner_text()
        act(page, "Pause", "lunch")
        assert world.platform.release(release).status == "paused"
        act(page, "Resume")
        assert world.platform.release(release).status == "running"
        act(page, "Approve", "looks fine")
        world.platform.tick()
        assert world.platform.release(release).standing.stage == 2
        page.goto(f"/releases/{release}")
        page.get_by_role("link", name="Roll back").click()
        page.get_by_role("button", name="Roll back").click()
        if scripts:  # the browser itself does not send a form whose reason is missing
            assert page.evaluate("document.querySelector('#why').validity.valueMissing")
        assert world.platform.release(release).status == "running"
        page.get_by_label("Reason").fill("it is slow")
        page.get_by_role("button", name="Roll back").click()
        page.locator("p.note.good").wait_for()
        assert world.platform.release(release).status == "rolled back"
        assert "it is slow" in page.locator("#line").inner_text()

        page.get_by_role("link", name="Explain", exact=True).click()
        page.get_by_label("Device id").fill("device-00003")
        page.get_by_label("Task").fill("digits")
        page.get_by_role("button", name="Explain").click()
        page.get_by_role("heading", name="device-00003 should run digits v1").wait_for()
        assert "device=device-00003" in page.url

        page.get_by_role("link", name="Devices", exact=True).click()
        page.get_by_label("Id begins with").fill("device-0001")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="device-00012").click()
        assert page.get_by_role("heading", name="device-00012").is_visible()

        page.goto("/tasks/digits")
        page.get_by_role("link", name="Compare versions").click()
        page.get_by_label("From", exact=True).select_option("1")
        page.get_by_label("To", exact=True).select_option("2")
        page.get_by_role("button", name="Compare").click()
        page.locator(".minus", has_text="argmax").first.wait_for()

        page.get_by_role("link", name="Audit", exact=True).click()
        page.get_by_label("Contains").fill("it is slow")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("heading", name="Entries that contain").wait_for()
        assert page.locator("tbody tr").count() >= 1
        page.get_by_role("link", name=f"release/{release}").first.click()
        page.wait_for_url(f"**/releases/{release}")

        page.goto("/tasks/digits")
        page.get_by_role("link", name="Change").first.click()
        page.goto("/tasks/digits/policy")
        page.get_by_label("Policy, as JSON").fill('{"everyone": true}')
        page.get_by_role("button", name="Set the policy").click()
        page.wait_for_url("**/tasks/digits?done=policy")
        assert world.platform.task("digits").policy == {"everyone": True}
        page.get_by_role("link", name="Revoke v2").click()
        page.get_by_label("Reason").fill("it leaks")
        page.get_by_role("button", name="Revoke").click()
        page.wait_for_url("**/tasks/digits?done=revoke")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        page.goto("/audit")
        assert "/login" in page.url


def tab_to(page, name, role=None):
    """Presses Tab until an element of this name has the focus, which must be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const one = document.activeElement, style = getComputedStyle(one);"
            " return [one.labels?.[0]?.innerText || one.innerText || '', style.outlineStyle, style.outlineWidth, one.tagName] }"
        )
        if found[0].strip().startswith(name):
            assert found[1] == "solid" and found[2] == "3px", found
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_by_keyboard_alone(browser, site):
    world, url = site
    with opened(browser, url) as page:
        keys = page.keyboard
        page.goto("/")
        tab_to(page, "Operator token")
        keys.type(world.tokens["admin"])
        keys.press("Enter")
        page.wait_for_url("**/")
        tab_to(page, "Skip to the content")
        keys.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.goto("/")
        tab_to(page, "Tasks")
        keys.press("Enter")
        page.wait_for_url("**/tasks")
        tab_to(page, "digits")
        keys.press("Enter")
        page.wait_for_url("**/tasks/digits")
        tab_to(page, "Start a release")
        keys.press("Enter")
        page.wait_for_url("**/release")
        tab_to(page, "Gray steps in percent")
        keys.press("Control+A")
        keys.type("50")
        for name in ("Minutes a stage lasts at least", "Reports wanted of each arm"):
            tab_to(page, name)
            keys.press("Control+A")
            keys.press("Delete")
        tab_to(page, "Show the plan")
        keys.press("Enter")
        page.get_by_role("heading", name="Release digits v2?").wait_for()
        tab_to(page, "Start the release")
        keys.press("Space")
        page.wait_for_url("**/releases/*")
        release = int(re.search(r"/releases/(\d+)", page.url)[1])
        world.run(40)
        for name, status in (
            ("Pause", "paused"),
            ("Resume", "running"),
            ("Approve", "running"),
            ("Roll back", "rolled back"),
        ):
            page.goto(f"/releases/{release}")
            tab_to(page, name)
            keys.press("Enter")
            page.wait_for_url("**/releases/*/*")
            tab_to(page, "Reason")
            keys.type("by keyboard")
            tab_to(page, name)
            keys.press("Enter")
            page.wait_for_url(f"**/releases/{release}?done=*")
            assert world.platform.release(release).status == status
        page.goto("/explain")
        tab_to(page, "Device id")
        keys.type("device-00001")
        tab_to(page, "Task")
        keys.type("digits")
        keys.press("Enter")
        page.locator("#verdict").wait_for()
        assert page.evaluate("document.activeElement.id") == "answer"
        page.goto("/diff/digits")
        tab_to(page, "From")
        keys.type("v2")
        tab_to(page, "Compare")
        keys.press("Enter")
        page.get_by_text("have the same files").wait_for()
        page.goto("/audit")
        tab_to(page, "Contains")
        keys.type("rolled back")
        keys.press("Enter")
        page.get_by_role("heading", name="Entries that contain").wait_for()


def test_what_happens_is_seen_without_reloading(browser, site):
    world, url = site
    release = world.platform.create_release("digits", 2, PLAN, "ada")
    with opened(browser, url) as page:
        log_in(page, world.tokens["admin"])
        page.goto(f"/releases/{release}")
        page.get_by_text("Live", exact=True).wait_for()
        page.evaluate("window.here = true")
        page.locator("#stages summary").click()
        page.locator("#do-pause").focus()
        world.run(60)
        page.locator("#line", has_text="0 of 1 approvals").wait_for()
        page.locator("polyline").nth(2).wait_for(state="attached")
        assert page.evaluate("document.activeElement.id") == "do-pause"
        assert page.locator("#plan").get_attribute("open") is not None
        begun = time.monotonic()
        world.platform.pause(release, "olga", "lunch")
        page.locator("#do-resume").wait_for()
        assert time.monotonic() - begun < 5
        world.platform.rollback(release, "olga", HTML)
        page.locator("#line", has_text="rolled back").wait_for()
        assert page.locator(".head .button.danger").count() == 0
        assert page.evaluate("window.here")
        assert page.locator("#line").get_attribute("aria-live") == "polite"


def test_the_overview_is_live_too(browser, site):
    world, url = site
    with opened(browser, url) as page:
        log_in(page, world.tokens["viewer"])
        page.get_by_text("Live", exact=True).wait_for()
        assert page.get_by_text("No release is under way").is_visible()
        release = world.platform.create_release("digits", 2, PLAN, "ada")
        page.locator(f"#active a[href='/releases/{release}']").wait_for()


def test_a_link_from_another_site_finds_who_has_logged_in(browser, site):
    world, url = site
    with opened(browser, url) as page:
        log_in(page, world.tokens["viewer"])
        page.goto(url.replace("127.0.0.1", "localhost") + "/login")
        page.evaluate(
            "url => { const one = document.createElement('a'); one.href = url; one.textContent = 'over there';"
            " document.querySelector('main').append(one) }",
            f"{url}/devices?prefix=device-0001",
        )
        page.get_by_role("link", name="over there").click()
        page.get_by_role("heading", name="Devices whose id begins with").wait_for()
        assert page.url == f"{url}/devices?prefix=device-0001"


def test_two_people_at_once(browser, site):
    """One approves a stage while the other still looks at the stage before."""
    world, url = site
    plan = {**PLAN, "stages": [PLAN["stages"][0], {**PLAN["stages"][0], "percent": 80}, PLAN["stages"][1]]}
    release = world.platform.create_release("digits", 2, plan, "ada")
    world.run(40)
    with opened(browser, url) as page:
        log_in(page, world.tokens["approver"])
        page.goto(f"/releases/{release}/approve")
        world.platform.approve(release, "carol", "approver")
        world.platform.tick()
        world.run(40, start=40)
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("alert").wait_for()
        assert "another stage" in page.get_by_role("alert").inner_text()
        assert world.platform.release(release).standing.stage == 2


def test_html_in_every_text_runs_nowhere(browser, site):
    world, url = site
    world.version("digits", 3, {"a.py": HTML.encode()}, HTML, HTML)
    name = HTML.replace(" ", "_")
    world.device(name, model=HTML)
    release = world.platform.create_release("digits", 3, PLAN, HTML)
    world.run(60, bad=0.3, why=HTML)
    with opened(browser, url) as page:
        log_in(page, world.tokens["admin"])
        for path in (
            "/tasks/digits",
            f"/releases/{release}",
            "/diff/digits?old=2&new=3",
            "/devices?prefix=<",
            "/audit?text=<script>",
        ):
            page.goto(path)
            assert page.locator("img").count() == 0
            assert "<script>alert(1)</script>" in page.locator("main").inner_text(), path
        page.goto("/devices?prefix=<")
        page.locator("tbody a").first.click()
        assert page.locator("h1").inner_text() == name
