"""The dashboard where it belongs: behind the real server, with two workers, beside the API and what devices ask."""

import re

from pages_browser import log_in, opened
from walle_deploy.server.testing import running_server

PLAN = {"stages": [{"kind": "full", "control": 0.5, "gates": [{"kind": "approval"}]}], "watch": 600}


def test_a_release_is_followed_and_approved_behind_the_real_server(browser, tmp_path):
    with running_server(tmp_path, workers=2) as server:
        server.add_task("digits")
        server.publish("digits", 1, {"task.py": b"def run(inputs):\n    return {}\n"}, "the <first>")
        assert server.call("GET", "/", role=None).status == 303
        assert server.call("GET", "/nowhere", role=None).headers["content-type"].startswith("text/html")
        assert server.call("GET", "/api/v1/nowhere").headers["content-type"] == "application/json"
        with opened(browser, server.url) as page:
            log_in(page, server.tokens["admin"])
            page.goto("/tasks/digits/release")
            page.get_by_text("This is the first release of digits").wait_for()
            page.get_by_text("Write the plan yourself instead").click()
            page.get_by_label("Plan, as TOML or JSON").fill(
                "watch = 600\n[[stages]]\nkind = 'full'\ncontrol = 0.5\ngates = [{kind = 'approval'}]\n"
            )
            page.get_by_role("button", name="Show the plan").click()
            page.get_by_role("button", name="Start the release").click()
            page.wait_for_url("**/releases/*")
            release = int(re.search(r"/releases/(\d+)", page.url)[1])
            page.get_by_text("Live", exact=True).wait_for()
            server.call("POST", f"/api/v1/releases/{release}/pause", {"why": "from the API"}, expect=204)
            page.locator("#do-resume").wait_for()
            page.get_by_text("from the API").first.wait_for()
            page.get_by_role("link", name="Approve").click()
            page.get_by_role("button", name="Approve").click()
            page.wait_for_url("**?done=approve")
        found = server.call("GET", f"/api/v1/releases/{release}", expect=200).json
        assert found["status"] == "paused"
        assert any("1 of 1 approvals" in gate["why"] for gate in found["standing"]["gates"])
        assert server.call("POST", "/logout", b"csrf=x", role=None).status == 403


def test_a_version_whose_image_is_not_published_is_not_released(tmp_path):
    from urllib.parse import urlencode

    with running_server(tmp_path) as server:
        server.add_task("digits")
        made = server.publish("digits", 1, {"task.py": b"x = 1\n"})
        manifest = type(made).of("digits", "v2", made.files)
        server.call("POST", "/api/v1/tasks/digits/versions", server.version(manifest, 2), expect=201)
        cookie = {}

        def ask(method, path, form=None):
            kind = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie.get("it", "")}
            body = urlencode({"csrf": cookie.get("csrf", ""), **form}).encode() if form is not None else None
            answer = server.call(method, path, body, role=None, headers=kind)
            if "set-cookie" in answer.headers:
                cookie["it"] = answer.headers["set-cookie"].partition(";")[0]
            if found := re.search(rb'name="csrf" value="([^"]+)"', answer.body):
                cookie["csrf"] = found[1].decode()
            return answer

        ask("GET", "/login")
        assert ask("POST", "/login", {"token": server.tokens["operator"]}).status == 303
        ask("GET", "/tasks/digits/release")
        answer = ask("POST", "/tasks/digits/release", {"version": "2", "confirm": "yes"})
        assert answer.status == 400
        assert b"not published yet" in answer.body
        answer = ask("POST", "/tasks/digits/release", {"version": "1", "confirm": "yes"})
        assert answer.status == 303, answer.body
