"""What forms do, for whom, and what they refuse."""

import pytest
from pages_html import parsed
from pages_world import PLAN

ACTIONS = {
    "approve": {"approver", "admin"},
    "pause": {"operator", "admin"},
    "rollback": {"operator", "admin"},
}
ROLES = ("viewer", "operator", "approver", "admin")


@pytest.fixture
def release(world):
    world.digits()
    made = world.platform.create_release("digits", 2, PLAN, "ada")
    world.run(40)
    return made


def status(world, release):
    return world.platform.release(release).status


@pytest.mark.parametrize("role", ROLES)
def test_roles_decide_what_is_shown_and_what_is_done(world, release, role):
    visitor = world.visitor(role)
    text = visitor.get(f"/releases/{release}").text
    for action, roles in ACTIONS.items():
        assert (f'href="/releases/{release}/{action}"' in text) is (role in roles)
        assert visitor.get(f"/releases/{release}/{action}").status == (200 if role in roles else 403)
    allowed = role in {"operator", "admin"}
    text = visitor.get("/tasks/digits").text
    assert ("/policy" in text) is allowed and ("/revoke" in text) is allowed
    visitor.get("/")
    for path, form in {
        f"/releases/{release}/rollback": {"why": "x"},
        f"/releases/{release}/pause": {},
        f"/releases/{release}/approve": {"stage": "1"},
        "/tasks/digits/policy": {"policy": '{"everyone": true}'},
        "/tasks/digits/release": {"version": "2"},
        "/tasks/digits/versions/2/revoke": {"why": "x"},
    }.items():
        right = role in ACTIONS["approve"] if "approve" in path else allowed
        if not right:
            assert visitor.post(path, form).status == 403, path
    if not allowed:
        assert status(world, release) in {"running", "finished"}
        assert world.platform.task("digits").versions[0].revoked == ""


@pytest.mark.parametrize("csrf", ["", "x", "ü", "0" * 24])
def test_forms_of_other_sites_do_nothing(world, release, csrf):
    visitor = world.visitor()
    answer = visitor.post(f"/releases/{release}/rollback", {"why": "x"}, csrf=csrf)
    assert answer.status == 403
    assert "does not belong to this session" in parsed(answer).text
    assert status(world, release) == "running"


def test_forms_of_other_sessions_do_nothing(world, release):
    mine, other = world.visitor(), world.visitor()
    mine.get("/"), other.get("/")
    assert mine.csrf != other.csrf
    assert mine.post(f"/releases/{release}/pause", {}, csrf=other.csrf).status == 403
    assert status(world, release) == "running"


def test_pausing_resuming_and_rolling_back(world, release):
    visitor = world.visitor("operator")
    page = parsed(visitor.get(f"/releases/{release}/pause"))
    assert "Pause digits v2?" in page.text and "No further device gets the version" in page.text
    answer = visitor.post(f"/releases/{release}/pause", {"why": "lunch"})
    assert (answer.status, answer.header("location")) == (303, f"/releases/{release}?done=pause")
    assert "The release is paused." in parsed(visitor.get(answer.header("location"))).text
    assert status(world, release) == "paused"
    text = parsed(visitor.get(f"/releases/{release}")).text
    assert "Resume" in text
    answer = visitor.post(f"/releases/{release}/pause", {})
    assert answer.status == 409 and "the release is paused" in parsed(answer).text
    visitor.post(f"/releases/{release}/resume", {})
    assert status(world, release) == "running"
    answer = visitor.post(f"/releases/{release}/rollback", {"why": " "})
    assert answer.status == 409 and "Say why" in parsed(answer).text
    visitor.post(f"/releases/{release}/rollback", {"why": "it is slow"})
    assert status(world, release) == "rolled back"
    told = [(one.who, one.action, one.text) for one in world.platform.audit(limit=20)]
    assert any(who == "operator's <b>" and "it is slow" in text for who, _, text in told)
    assert visitor.get(f"/releases/{release}/dance").status == 404


def test_an_approval_is_of_the_stage_that_was_seen(world, release):
    visitor = world.visitor("approver")
    page = parsed(visitor.get(f"/releases/{release}/approve"))
    (stage,) = [one["value"] for one in page.all("input") if one.get("name") == "stage"]
    assert stage == "1"
    answer = visitor.post(f"/releases/{release}/approve", {"stage": "7"})
    assert answer.status == 409 and "another stage" in parsed(answer).text
    assert world.platform.release(release).standing.stage == 1
    assert visitor.post(f"/releases/{release}/approve", {"stage": stage, "why": "looks fine"}).status == 303
    world.platform.tick()
    assert world.platform.release(release).standing.stage == 2
    answer = visitor.post(f"/releases/{release}/approve", {"stage": "2"})
    assert answer.status == 409 and "waits for no approval" in parsed(answer).text


FIELDS = {"version": "2", "gray": "20", "minutes": "1", "reports": "10", "watch": "60", "approval": "on"}


def test_starting_a_release(world):
    world.digits()
    world.version("digits", 3, {"main.py": b"x"})
    visitor = world.visitor("operator")
    page = parsed(visitor.get("/tasks/digits/release"))
    assert [one["value"] for one in page.all("option")] == ["3", "2"]
    answer = visitor.post("/tasks/digits/release", FIELDS)
    page = parsed(answer)
    assert answer.status == 200
    assert "Release digits v2?" in page.text and "gray 20 %" in page.text and "It replaces v1" in page.text
    assert world.platform.task("digits").release is None
    hidden = {
        one["name"]: one["value"]
        for one in page.all("input")
        if one.get("type") == "hidden" and one["name"] != "csrf"
    }
    back = parsed(visitor.post("/tasks/digits/release", {**hidden, "confirm": "change"}))
    assert any(one.get("value") == "20" for one in back.all("input"))
    answer = visitor.post("/tasks/digits/release", {**hidden, "confirm": "yes"})
    release = int(answer.header("location").partition("?")[0].rpartition("/")[2])
    made = world.platform.release(release)
    assert (made.task, made.version, made.previous) == ("digits", 2, 1)
    assert [stage["kind"] for stage in made.plan["stages"]] == ["gray", "full"]
    assert "The release has begun." in parsed(visitor.get(answer.header("location"))).text
    assert "under way" in parsed(visitor.get("/tasks/digits/release")).text
    answer = visitor.post("/tasks/digits/release", {**hidden, "version": "3", "confirm": "yes"})
    assert answer.status == 400


def test_starting_with_a_plan_of_ones_own(world):
    world.digits()
    visitor = world.visitor()
    plan = "watch = 0\n\n[[stages]]\nkind = 'full'\ncontrol = 0.0\n"
    form = {"version": "2", "plan": plan.replace("\n", "\r\n")}
    page = parsed(visitor.post("/tasks/digits/release", form))
    hidden = {one["name"]: one["value"] for one in page.all("input") if one.get("type") == "hidden"}
    answer = visitor.post("/tasks/digits/release", {**hidden, "confirm": "yes"})
    assert answer.status == 303
    assert world.platform.releases("digits")[0].version == 2


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"gray": "ten"}, "'ten' is no number"),
        ({"gray": "20, 10"}, "must be above"),
        ({"gray": "120"}, "100"),
        ({"reports": "99999"}, "more than can be told apart"),
        ({"version": "9"}, "version 9 of digits cannot be released"),
        ({"version": "<b>"}, "'<b>' is no number"),
        ({"plan": "stages = 1"}, "release plan"),
        ({"plan": "<b>"}, "neither JSON nor TOML"),
    ],
)
def test_a_plan_that_cannot_work_is_told_with_the_fields_kept(world, fields, why):
    world.digits()
    answer = world.visitor().post("/tasks/digits/release", {**FIELDS, **fields})
    page = parsed(answer)
    assert answer.status == 400
    assert why in page.text.replace("Version", "version").replace("Release plan", "release plan")
    for name, value in fields.items():
        if name != "version":
            assert value in page.text or any(one.get("value") == value for one in page.all("input")), name


class NoImages:
    def __init__(self, found):
        self.found = found

    def listed(self, task, number):
        return self.found


def test_only_what_devices_accept_is_released(world):
    from walle_deploy.server.pages.app import pages
    from walle_deploy.trust.online import Listed

    world.digits()
    revoked = Listed(b"", 0, "leaks")
    for found, why in ((None, "not published yet"), (revoked, "is revoked: leaks")):
        world.app = pages(
            world.platform, world.operators, secret=b"x" * 32, images=NoImages(found), clock=world.clock
        )
        answer = world.visitor().post("/tasks/digits/release", {**FIELDS, "confirm": "yes"})
        assert answer.status == 400 and why in parsed(answer).text
    assert world.platform.task("digits").release is None


def test_setting_a_policy(world):
    world.digits()
    visitor = world.visitor("operator")
    for wrong, why in (
        ("{", "no JSON"),
        ("[]", "is a JSON object"),
        ('{"moon": 1}', "moon"),
        ("[" * 5000, "no JSON"),
    ):
        answer = visitor.post("/tasks/digits/policy", {"policy": wrong})
        assert answer.status == 400 and why in parsed(answer).text
        assert wrong in parsed(answer).text
    answer = visitor.post("/tasks/digits/policy", {"policy": '{"device": {"os": {"eq": "<b>"}}}'})
    assert answer.header("location") == "/tasks/digits?done=policy"
    assert world.platform.task("digits").policy == {"device": {"os": {"eq": "<b>"}}}


def test_a_policy_that_is_too_long_is_not_cut(world):
    world.digits({"devices": [f"device-{number:09}" for number in range(4000)]})
    visitor = world.visitor()
    assert visitor.get("/tasks/digits/policy").status == 413
    assert len(visitor.get("/tasks/digits").text) < 30_000


def test_revoking_a_version(world, release):
    visitor = world.visitor("operator")
    page = parsed(visitor.get("/tasks/digits/versions/2/revoke"))
    assert "Revoke digits v2?" in page.text and "cannot be undone" in page.text
    assert visitor.post("/tasks/digits/versions/2/revoke", {"why": ""}).status == 409
    answer = visitor.post("/tasks/digits/versions/2/revoke", {"why": "it leaks"})
    assert answer.header("location") == "/tasks/digits?done=revoke"
    assert status(world, release) == "revoked"
    text = parsed(visitor.get("/tasks/digits")).text
    assert "it leaks" in text
    assert "revoked already" in parsed(visitor.get("/tasks/digits/versions/2/revoke")).text
    assert visitor.get("/tasks/digits/versions/7/revoke").status == 404


def test_forms_that_are_too_large_or_none(world):
    visitor = world.visitor()
    assert visitor.post("/tasks/x/policy", {"policy": "x" * 600_000}).status == 413
    assert visitor.post("/tasks/x/policy", {f"f{number}": "" for number in range(200)}).status == 400
    assert world.ask("POST", "/logout", None, visitor.cookies).status == 403
