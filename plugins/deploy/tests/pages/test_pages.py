"""Each page, what it shows, how large it is, and that nothing from outside is taken for markup."""

import re

import pytest
from pages_html import parsed
from pages_world import PLAN, SCRIPT
from walle_deploy.profile import Profile

LARGEST = 100_000  # bytes of a page
STATIC = re.compile(r"/static/[0-9a-f]{12}/[a-z.]+")


def released(world, devices=40, bad=0.0):
    world.digits()
    release = world.platform.create_release("digits", 2, PLAN, "ada")
    world.run(devices, bad=bad)
    world.platform.tick()
    return release


def paths(release):
    return [
        "/", "/tasks", "/tasks/digits", "/tasks/digits/policy", "/tasks/digits/release", f"/releases/{release}",
        f"/releases/{release}/approve", f"/releases/{release}/pause", f"/releases/{release}/rollback",
        "/tasks/digits/versions/2/revoke", "/diff/digits", "/diff/digits?old=1&new=2", "/devices", "/devices?prefix=device-0001",
        "/devices/device-00003", "/explain", "/explain?device=device-00003&task=digits", "/audit", "/audit?text=add", "/cloud",
        "/cloud?days=7",
    ]  # fmt: skip


def test_every_page_is_well_made_and_small(world):
    visitor, release = world.visitor(), released(world)
    for path in paths(release):
        answer = visitor.get(path)
        assert answer.status == 200, (path, answer.text)
        assert len(answer.text.encode()) <= LARGEST, path
        page = parsed(answer)
        titles = [name for name, _ in page.elements if name == "h1"]
        assert len(titles) == 1, path
        assert any(one.get("href") == "#main" for one in page.all("a")), path


@pytest.mark.parametrize("path, status", [("/", 200), ("/nope", 404), ("/login", 303), ("/releases/99", 404), ("/releases/x", 404), ("/tasks/none", 404), ("/tasks/A%00", 400), ("/devices/none", 404), ("/diff/none", 404), ("/live", 401), ("/static/0/style.css", 200), ("/static/0/no.css", 404), ("/static/0/..%2Fapp.py", 404)])  # fmt: skip
def test_every_answer_is_strict(world, path, status):
    visitor = world.visitor()
    if status == 401:
        visitor.cookies.clear()
    answer = visitor.get(path)
    assert answer.status == status
    policy = answer.header("content-security-policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "same-origin"
    kept = answer.header("cache-control")
    assert kept == ("public, max-age=31536000, immutable" if path == "/static/0/style.css" else "no-store")


def test_what_pages_refer_to_is_there(world):
    visitor = world.visitor()
    found = set(STATIC.findall(visitor.get("/").text))
    assert {path.rpartition("/")[2] for path in found} == {"style.css", "live.js", "icon.svg"}
    for path in found:
        answer = world.ask("GET", path)
        assert answer.status == 200
        assert len(answer.text) < 20_000
        kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert answer.header("content-type").startswith(kinds[path.rpartition(".")[2]])
        assert "@import" not in answer.text and not re.search(
            r"url\(|https?://(?!www\.w3\.org/2000/svg)", answer.text
        )


def test_the_script_is_short():
    from walle_deploy.server.pages.rendering import static

    lines = static("live.js")[0].decode().splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 150


@pytest.mark.parametrize("sort", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(sort):
    """WCAG 2.2 AA: 4.5 for texts, 3 for edges of fields, lines of curves and the mark of the focus."""
    from walle_deploy.server.pages.rendering import static

    sheet = static("style.css")[0].decode()
    blocks = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[sort == "dark"]))

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one, other):
        high, low = sorted((light(colours[one]), light(colours[other])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    texts = [(one, back) for one in ("text", "soft", "link") for back in ("page", "card", "sunk")]
    texts += [(kind, f"{kind}-back") for kind in ("good", "bad", "wait", "info")]
    texts += [("text", f"{kind}-back") for kind in ("good", "bad", "wait", "info")]
    texts += [("on-primary", "primary"), ("on-danger", "danger"), ("danger", "card"), ("soft", "sunk")]
    for pair in texts:
        assert contrast(*pair) >= 4.5, pair
    for pair in [
        ("edge-strong", "card"),
        ("focus", "page"),
        ("focus", "card"),
        *((line, "card") for line in ("new", "old", "reach")),
    ]:
        assert contrast(*pair) >= 3, pair


def test_the_overview(world):
    release = released(world)
    text = parsed(world.visitor().get("/")).text
    assert "60 devices known" in text.replace("40 devices known", "60 devices known")
    assert "1 task" in text and "1 release under way" in text
    assert "v2 is running, stage 1 of 2, gray 50 %: 0 of 1 approvals" in text
    assert f'href="/releases/{release}"' in world.visitor().get("/").text


def test_a_task(world):
    world.digits({"all": [{"device": {"os": "android"}}, {"uniform": {"salt": "x", "percent": 90}}]})
    page = parsed(world.visitor().get("/tasks/digits"))
    for words in (
        "v2 the second",
        "v1 (everybody's) the first",
        "ada@example.org",
        '"percent": 90',
        "Start a release",
        "v1 is released",
    ):
        assert words in page.text, words


def test_a_release(world):
    release = released(world, 80, bad=0.2)
    page = parsed(world.visitor().get(f"/releases/{release}"))
    for words in (
        "digits v2",
        "running",
        "1. gray 50 % now",
        "2. full to come",
        "approval",
        "0 of 1 approvals",
        "Coverage, in devices",
        "of the control",
        "time limit of 2 s",
        "Evidence",
    ):
        assert words in page.text, words
    assert len(page.all("polyline")) == 3
    rows = page.text.partition("The curves as a table")[2]
    found = world.platform.release(release)
    assert f"{found.standing.failed[0]} of {found.standing.reports[0]}" in rows


def test_a_release_that_was_rolled_back_says_why(world):
    release = released(world)
    world.platform.rollback(release, "olga", "users complain")
    text = parsed(world.visitor().get(f"/releases/{release}")).text
    assert "v2 was rolled back: by olga: users complain; v1 runs instead" in text
    assert "1. gray 50 % stopped here" in text
    assert "Approve" not in text and "Roll back" not in text


def test_devices_are_found_by_their_beginning_a_page_at_a_time(world):
    world.digits()
    world.describe(*(Profile(f"{'b' if number % 2 else 'a'}{number:03}") for number in range(100)))
    visitor, seen = world.visitor(), []
    path = "/devices?prefix=b"
    while path:
        page = parsed(visitor.get(path))
        seen += [
            one["href"].rpartition("/")[2] for one in page.all("a") if one["href"].startswith("/devices/")
        ]
        path = next((one["href"] for one in page.all("a") if one.get("rel") == "next"), None)
    assert seen == [f"b{number:03}" for number in range(1, 100, 2)]
    assert "No device's id begins with this" in parsed(visitor.get("/devices?prefix=zz")).text


@pytest.mark.parametrize(
    "name", ["a/b", "%2F", "a?b#c", "..", "//x", "&amp;", "'\";--", "+", "a\\b", "~" * 128]
)
def test_any_device_has_a_page(world, name):
    world.digits()
    world.device(name)
    visitor = world.visitor()
    page = parsed(visitor.get("/devices"))
    (path,) = [
        one["href"]
        for one in page.all("a")
        if one["href"].startswith("/devices/") and "device-" not in one["href"]
    ]
    page = parsed(visitor.get(path))
    assert name in page.text
    (path,) = [one["href"] for one in page.all("a") if one["href"].startswith("/explain?device=")]
    assert name in parsed(visitor.get(path)).text


def test_explaining(world):
    world.digits({"all": [{"device": {"os": "android"}}, {"not": {"device": {"memory_mb": {"lt": 2000}}}}]})
    world.platform.create_release("digits", 2, PLAN, "ada")
    world.device("poor", memory_mb=1000)
    told = {}
    world.describe(*(Profile(f"rich-{number}", {"os": "android", "memory_mb": 4000}) for number in range(40)))
    for number in range(40):
        found = world.platform.explain(f"rich-{number}", "digits")
        told[found.standing.offer.arm] = found
    visitor = world.visitor()
    text = parsed(visitor.get("/explain?device=poor&task=digits")).text
    assert "poor should not run digits" in text
    assert "yes device.memory_mb < 2000 (found 1000)" in text and "no not" in text and "not meant" in text
    for arm, found in told.items():
        text = parsed(visitor.get(f"/explain?device={found.device}&task=digits")).text
        assert f"{found.device} should run digits {found.wanted}" in text
        assert f"{found.standing.bucket:,}" in text and f"{found.standing.threshold:,}" in text
        assert arm in text and "1. gray 50 %" in text
    assert set(told) == {"treatment", "control", "outside"}
    assert "never described itself" in parsed(visitor.get("/explain?device=new&task=digits")).text
    assert "no task" in parsed(visitor.get("/explain?device=poor&task=none")).text
    assert visitor.get("/explain?device=a%20b&task=digits").status in {400, 404}


def test_the_audit_is_searched_and_paged(world):
    world.digits()
    for number in range(60):
        world.platform.note("olga" if number % 2 else "bob", "token", f"token/{number}", "100 %_done")
    visitor = world.visitor()
    page = parsed(visitor.get("/audit"))
    assert "token/59" in page.text and "token/3 " not in page.text
    (older,) = [one["href"] for one in page.all("a") if one.get("rel") == "next"]
    assert "token/3 " in parsed(visitor.get(older)).text
    text = parsed(visitor.get("/audit?text=olga")).text
    assert "token/59" in text and "token/58" not in text
    assert "token/59" in parsed(visitor.get("/audit?text=%25_d")).text
    assert "There are none" in parsed(visitor.get("/audit?text=nobody")).text
    assert visitor.get("/audit?before=x").status == 404


def test_differences_of_versions(world):
    world.digits()
    text = parsed(world.visitor().get("/diff/digits")).text
    for words in (
        "3 files differ from v1 to v2",
        "gone.txt removed 5 B",
        "model.bin added – 2.3 kB",
        "-once",
    ):
        assert words in text, words
    assert "- return {'digit': int(inputs['image'].argmax())}" in text
    assert "+ return {'digit': int(inputs['image'].argmin())}" in text
    assert "have the same files" in parsed(world.visitor().get("/diff/digits?old=1&new=1")).text
    assert world.visitor().get("/diff/digits?old=1&new=9").status == 404


def test_differences_without_the_files(world):
    world.digits()
    for file in ("main.py", "gone.txt"):
        world.store.delete(world.store.put(b"once\n" if file == "gone.txt" else SCRIPT.encode()).sha256)
    text = parsed(world.visitor().get("/diff/digits")).text
    assert "3 files differ" in text and "not at hand here" in text
