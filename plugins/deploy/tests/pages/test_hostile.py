"""Texts and sizes that people and devices choose to do harm: nothing is taken for markup, and every page stays small."""

from urllib.parse import quote

from pages_html import parsed
from pages_world import HTML, PLAN
from test_pages import LARGEST, paths
from walle_deploy.profile import Profile
from walle_deploy.server.types import DeviceReport


def test_large_differences_are_cut(world):
    world.platform.add_task("big", {"everyone": True}, "ada")
    old = {f"file-{number:03}.txt": b"<line>\n" * 2000 for number in range(90)}
    new = dict.fromkeys(old, b"<other>\n" * 2000)
    world.version("big", 1, {**old, "huge.bin": bytes(5 << 20)})
    world.version("big", 2, {**new, "huge.bin": bytes(5 << 20) + b"1"})
    answer = world.visitor().get("/diff/big")
    text = parsed(answer).text
    assert len(answer.text.encode()) <= LARGEST
    assert (
        "91 files differ" in text
        and "31 more are not shown" in text
        and "more lines; walle task diff shows them" in text
    )


def test_nothing_from_outside_is_markup(world):
    """Every text that people or devices choose is HTML and SQL here."""
    world.digits({"any": [{"user": {HTML[:60]: {"eq": HTML}}}, {"everyone": True}]})
    world.platform.set_segment("staff", {"device": {HTML[:60]: {"eq": HTML}}}, HTML)
    world.version("digits", 3, {"a&lt;b.py": HTML.encode() * 9}, HTML, HTML)
    world.version("digits", 4, {"a&lt;b.py": HTML.encode() * 7}, HTML * 300, HTML * 2)
    name = HTML.replace(" ", "_")
    world.describe(Profile(name, {"os": HTML, HTML: [HTML]}, {HTML: HTML}, {HTML: HTML}))
    release = world.platform.create_release(
        "digits", 3, {**PLAN, "stages": [{"kind": "beta", "devices": [name]}, *PLAN["stages"]]}, HTML
    )
    world.describe(Profile(name, {"os": HTML}, {}, {"digits": "v3"}))
    for number in range(3):
        world.platform.report(name, [DeviceReport(number, "digits", "v3", True, {}, HTML + str(number))])
    world.platform.note(HTML, HTML, HTML, HTML)
    visitor = world.visitor()
    device = quote(name, safe="")
    more = [
        f"/devices/{device}",
        f"/explain?device={device}&task=digits",
        f"/audit?text={quote(HTML)}",
        f"/devices?prefix={device}",
        "/diff/digits?old=3&new=4",
        f"/explain?device={device}&task={device}",
        f"/devices/{device}x",
        f"/login?next={device}",
        f"/{device}",
        f"/tasks/{device}",
        f"/releases/{release}?done={device}",
        f"/releases/{device}/{device}",
        f"/tasks?after={device}",
    ]
    shown = 0
    for path in [*paths(release), *more]:
        answer = visitor.get(path)
        page = parsed(answer)  # a script, an image or a handler that came through would be wrong
        assert not page.all("img")
        assert len(answer.text.encode()) <= LARGEST, path
        shown += "<script>alert(1)</script>" in page.text
    assert shown >= 14
    world.platform.rollback(release, HTML, HTML)
    assert HTML in parsed(visitor.get(f"/releases/{release}")).text
    assert world.platform.task("digits").policy["any"][0] == {"user": {HTML[:60]: {"eq": HTML}}}


def test_worst_cases_stay_small(world):
    """Longest ids, attributes, policies and reasons, all of signs that HTML has to write longer."""
    wide = "&" * 128
    many = {"any": [{"device": {f"attribute{number}": "&" * 100}} for number in range(250)]}
    world.digits({"any": [many, {"everyone": True}]})
    for number in range(45):
        name = f"{number:02}" + wide[:126]
        world.describe(
            Profile(
                name,
                {f"{number}-{'&' * 200}": "&" * 1000 for number in range(200)},
                {},
                {"&" * 900 + str(n): wide for n in range(30)},
            )
        )
    for _ in range(45):
        world.platform.note("&" * 100, "change", "&" * 50, "&" * 4000)
    visitor = world.visitor()
    for path in (
        "/devices",
        f"/devices/{quote('01' + wide[:126])}",
        "/audit",
        f"/explain?device={quote('01' + wide[:126])}&task=digits",
        "/tasks",
        "/tasks/digits",
    ):
        answer = visitor.get(path)
        assert answer.status == 200
        assert len(answer.text.encode()) <= LARGEST, (path, len(answer.text))
