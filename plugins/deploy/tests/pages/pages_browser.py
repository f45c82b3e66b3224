"""Pages in a real browser."""

import contextlib

MS = 30_000


@contextlib.contextmanager
def opened(browser, url, **options):
    """A page; what goes wrong in it fails the test."""
    page = browser.new_page(base_url=url, **options)
    page.set_default_timeout(MS)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    try:
        yield page
        assert not [one for one in wrong if "status of 4" not in one], (
            wrong
        )  # refusals are told to the console too
    finally:
        page.close()


def log_in(page, token):
    page.goto("/")
    page.get_by_label("Operator token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
