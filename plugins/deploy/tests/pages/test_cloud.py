"""What samples cost that devices send to the cloud; revocations that wait for the key of an image."""

import pytest
from pages_html import parsed
from pages_world import HTML
from walle_deploy.errors import TrustError
from walle_deploy.trust.online import Listed


def test_the_share_that_was_sent_and_what_it_cost(world):
    page = parsed(world.visitor("viewer").get("/cloud"))
    for words in ("55 samples sent", "1.15 % of the runs", "0.2200 EUR in all"):
        assert words in page.text, words
    assert "digits v1 4,000 50 1.25 % 2 75 kB 4.5 kB 0.9 s 2 s 0.2000 EUR" in page.text
    assert HTML[:31] in page.text  # escaped
    assert "v7 0 1 – 2" in page.text


def test_of_some_days_only(world):
    visitor = world.visitor()
    assert "Nothing was sent in this time" in parsed(visitor.get("/cloud?days=1")).text
    assert "4,000" in parsed(visitor.get("/cloud?days=7")).text
    for wrong in ("0", "-1", "x", "99999"):
        assert visitor.get(f"/cloud?days={wrong}").status == 404


def test_a_task_shows_its_own(world):
    world.digits()
    text = parsed(world.visitor().get("/tasks/digits")).text
    assert "Samples sent to the cloud" in text
    assert "v2 800 4 0.5 %" in text and "v7 0 1" not in text


def test_without_a_cloud_nothing_is_shown(world):
    world.digits()
    world.app = world.pages(costs=None)
    visitor = world.visitor()
    for path in ("/", "/tasks/digits"):
        assert "cloud" not in visitor.get(path).text.lower()
    answer = visitor.get("/cloud")
    assert answer.status == 404 and "--cloud" in parsed(answer).text


class Images:
    """Image metadata that lists a version; `staged` is what was prepared."""

    def __init__(self, revoked="", trouble=None):
        self.found, self.trouble, self.staged = Listed(b"", 0, revoked), trouble, []

    def listed(self, task, number):
        return self.found

    def revoke(self, task, number, why):
        if self.trouble:
            raise self.trouble
        self.staged.append((task, number, why))
        return self

    role = "targets"


@pytest.mark.parametrize("trouble", [None, TrustError("targets: digits/9 waits for signatures")])
def test_revoking_prepares_the_revocation_of_the_image(world, trouble):
    world.digits()
    images = Images(trouble=trouble)
    world.app = world.pages(images=images)
    visitor = world.visitor("operator")
    answer = visitor.post("/tasks/digits/versions/2/revoke", {"why": "it leaks"})
    assert answer.header("location") == "/tasks/digits?done=revoke-image"
    assert world.platform.task("digits").versions[0].revoked == "it leaks"
    assert images.staged == ([] if trouble else [("digits", 2, "it leaks")])
    actions = [line.action for line in world.platform.audit(limit=2)]
    assert "revoke" in actions
    assert ("stage revocation" in actions) == (trouble is None)
    text = parsed(visitor.get("/tasks/digits?done=revoke-image")).text
    assert "once walle task revoke has signed" in text
    assert "walle task revoke v2" in text
    images.found = Listed(b"", 0, "it leaks")
    assert "walle task revoke v2" not in parsed(visitor.get("/tasks/digits")).text


def test_revoking_what_has_no_image_prepares_nothing(world):
    world.digits()
    images = Images()
    images.found = None
    world.app = world.pages(images=images)
    answer = world.visitor().post("/tasks/digits/versions/2/revoke", {"why": "it leaks"})
    assert answer.header("location") == "/tasks/digits?done=revoke"
    assert not images.staged
