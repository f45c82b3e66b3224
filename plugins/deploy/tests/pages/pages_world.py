"""A server's platform with something to look at, its pages asked with and without sockets, and a browser."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from walle_deploy.cloud.costs import Cost
from walle_deploy.manifest import File, Manifest
from walle_deploy.profile import Profile
from walle_deploy.server.auth import Tokens
from walle_deploy.server.pages.app import pages
from walle_deploy.server.platform import Platform
from walle_deploy.server.types import DeviceReport
from walle_deploy.store.files import FileStore
from walle_deploy.trust import AnswerSigner, SigningKey

SECRET = b"a secret of the server, for tests"
HTML = """<script>alert(1)</script><img src=x onerror=alert(2)>"'&'); DROP TABLE tasks;--"""
PLAN = {
    "stages": [
        {"kind": "gray", "percent": 50, "control": 0.5, "gates": [{"kind": "approval"}]},
        {"kind": "full", "control": 0.05},
    ],
    "watch": 60,
}
COSTS = [
    Cost(
        task=task, version=version, runs=runs, unsure=6 * samples // 5, samples=samples, aside=2,
        share=samples / runs if runs else None, bytes_up=1500 * samples, bytes_down=90 * samples, ms=18.0 * samples,
        cpu_ms=34.0 * samples, money=0.004 * samples, currency="EUR",
    )
    for task, version, runs, samples in (("digits", "v1", 4000, 50), ("digits", "v2", 800, 4), (HTML, "v7", 0, 1))
]  # fmt: skip
SCRIPT = "def run(inputs):\n    return {'digit': int(inputs['image'].argmax())}\n"
ROLES = ("viewer", "operator", "approver", "admin", "enrol")


class World:
    """A platform on a database in a folder, with the task "digits" and its versions 1 and 2, and one token a role."""

    def __init__(self, folder):
        self.ahead = 0.0
        url = f"sqlite:///{folder / 'walle.db'}"
        self.store = FileStore.open("memory://", SECRET)
        self.platform = Platform.open(
            url,
            secret=SECRET,
            signer=AnswerSigner(SigningKey(Ed25519PrivateKey.generate())),
            base_url="http://x/walle",
            clock=self.clock,
        )
        self.operators = Tokens(self.platform.database, self.clock)
        self.tokens = {role: self.operators.make(f"{role}'s <b>", role, 1)[1] for role in ROLES}
        self.app = self.pages()
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.platform.close()

    def pages(self, **options):
        given = {"secret": SECRET, "files": self.store, "costs": self.costs, "clock": self.clock, **options}
        return pages(self.platform, self.operators, **given)

    def clock(self):
        return time.time() + self.ahead

    def costs(self, days):
        """Of samples that devices sent to the cloud; none today."""
        return [] if days == 1 else COSTS

    def version(self, task, number, files, message="a version", signer="ada@example.org"):
        kept = []
        for path, content in files.items():
            put = self.store.put(content)
            kept.append(File(path, put.sha256, put.size))
        manifest = Manifest.of(task, f"v{number}", kept)
        commit = hashlib.sha1(manifest.encode()).hexdigest()
        self.platform.add_version(
            task, number, commit=commit, message=message, signer=signer, manifest=manifest.encode(), who="ada"
        )

    def digits(self, policy=None):
        """The task with two versions, the first of which everybody has."""
        self.platform.add_task("digits", {"everyone": True}, "ada")
        self.version("digits", 1, {"main.py": SCRIPT.encode(), "gone.txt": b"once\n"}, "the first")
        changed = SCRIPT.replace("argmax()", "argmin()").encode()
        self.version("digits", 2, {"main.py": changed, "model.bin": bytes(range(256)) * 9}, "the second")
        self.stable()
        if policy:
            self.platform.set_policy("digits", policy, "ada")

    def stable(self, task="digits", number=1):
        """Releases a version to everybody at once."""
        release = self.platform.create_release(
            task, number, {"stages": [{"kind": "full", "control": 0}], "watch": 0}, "ada"
        )
        self.run(20, task)
        self.platform.tick()
        assert self.platform.release(release).status == "finished", self.platform.release(
            release
        ).standing.line

    def device(self, name, task="digits", **attributes):
        """A device that describes itself with what it should run installed; that version."""
        wanted = self.platform.explain(name, task).wanted
        installed = {task: wanted} if wanted else {}
        self.describe(Profile(name, {"os": "android", **attributes}, {}, installed))
        return wanted

    def describe(self, *profiles):
        """Devices as they are; written when it returns."""
        for profile in profiles:
            self.platform.check(profile)
        while self.platform.counts().waiting:
            time.sleep(0.01)

    def run(self, devices, task="digits", bad=0.0, why="time limit of 2 s", start=0):
        """So many devices run what they should run, and report."""
        wanted = {}
        for number in range(start, start + devices):
            name = f"device-{number:05}"
            if version := self.platform.explain(name, task).wanted:
                wanted[name] = version
        self.describe(
            *(Profile(name, {"os": "android"}, {}, {task: version}) for name, version in wanted.items())
        )
        coming = []
        for number, (name, version) in enumerate(wanted.items()):
            self.number += 1
            failed = version != "v1" and (number * 0.618) % 1 < bad
            report = DeviceReport(self.number, task, version, failed, {}, why if failed else "")
            coming.append(self.platform.begin_report(name, [report]))
        for one in coming:
            one.result()

    # without sockets

    def ask(self, method, path, form=None, cookies=None, headers=()):
        """One request; its status, headers and text."""
        body = b"" if form is None else urlencode(form).encode()
        sent = [(b"host", b"test"), *headers]
        if cookies:
            sent.append((b"cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()))
        return asyncio.run(_ask(self.app, method, path, body, sent))

    def visitor(self, role="admin"):
        """Somebody who has logged in."""
        return Visitor(self, self.tokens[role])


class Visitor:
    """Keeps cookies and sends forms as a browser without scripts does."""

    def __init__(self, world, token=None):
        self.world, self.cookies, self.csrf = world, {}, ""
        self.get("/login")
        if token is not None:
            answer = self.post("/login", {"token": token, "next": "/"})
            assert answer.status == 303, answer.text
            self.get("/")  # whose forms belong to the new session

    def get(self, path):
        return self._kept(self.world.ask("GET", path, None, self.cookies))

    def post(self, path, form, csrf=None):
        form = {"csrf": self.csrf if csrf is None else csrf, **form}
        return self._kept(self.world.ask("POST", path, form, self.cookies))

    def _kept(self, answer):
        for name, value in answer.headers:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0].strip('"')
        if found := re.search(r'name="csrf" value="([^"]+)"', answer.text):
            self.csrf = found[1]
        return answer


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text

    def header(self, name):
        return next((value for key, value in self.headers if key == name), None)


async def _ask(app, method, path, body, headers):
    path, _, query = path.partition("?")
    from urllib.parse import unquote

    scope = {
        "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(),
        "scheme": "http", "headers": headers, "client": ("10.0.0.1", 1), "server": ("test", 80), "root_path": "",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "extensions": {},
    }  # fmt: skip
    sent, pending = [], [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return Answer(sent[0]["status"], [(n.decode(), v.decode()) for n, v in sent[0]["headers"]], text)


@contextlib.contextmanager
def serving(app, **options):
    """The application by HTTP in a thread; yields its URL."""
    import uvicorn

    config = uvicorn.Config(
        app,
        port=0,
        log_level="critical",
        lifespan="off",
        access_log=False,
        timeout_graceful_shutdown=1,
        **options,
    )
    server, started = uvicorn.Server(config), threading.Event()
    startup = server.startup

    async def told(*args, **kwargs):
        await startup(*args, **kwargs)
        started.set()

    server.startup = told
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def launched():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
            pytest.fail("chromium is not found, but WALLE_REQUIRE_DEVICES is set")
        pytest.skip("chromium is not found; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
