"""A deployment server over real HTTP, whose answers a test can spoil, and the keys of a fleet; tasks to release in it."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
from install_power import QuickDisk
from trust_world import Fleet
from walle_deploy.agent.agent import Agent
from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.settings import Settings
from walle_deploy.install.fetch import Patience
from walle_deploy.install.versions import Version
from walle_deploy.manifest import File, Manifest
from walle_deploy.profile import Profile
from walle_deploy.trust import AnswerTask

SECRET = "enrol-me"
QUICK = Settings(
    every_s=1000.0,
    first_s=0.01,
    longest_s=0.1,
    request_s=5.0,
    pause_s=0.02,
    close_s=0.2,
    patience=Patience(tries=2, wait_s=0.01, longest_s=0.02),
)


def task(name, script, config="", trigger="manual = true", **files):
    """The files of a task; ``{name}`` is put where they name it."""
    head = f'[task]\nname = "{name}"\n[trigger]\n{trigger}\n'
    return {"walle.toml": (head + config).encode(), "main.py": script.encode(), **files}


VISIT = 'page_visit = "item"'
EVENTS = '[inputs]\nevents = {dtype = "events"}\n'
GOOD = "def main(events):\n    return {'n': len(events)}\n"
OUTPUT = '[outputs]\nn = {dtype = "json"}\n'


def visits(name, script=GOOD, config=EVENTS + OUTPUT, **files):
    """A task that runs at the end of each visit of an item's page."""
    return task(name, script, config, VISIT, **files)


class World:
    """The server. `spoilt`: (method, path's beginning) -> what answers instead, given the handler."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True)
        self.fleet = Fleet(folder)
        self.offered, self.files, self.deltas, self.manifests = {}, {}, {}, {}
        self.quiet, self.spoilt = set(), {}
        self.reports, self.bodies, self.asked = {}, [], []
        self.changed = threading.Condition()
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do(self):
                world.asked.append((self.command, self.path))
                self.data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                for (method, start), answer in list(world.spoilt.items()):
                    if method == self.command and self.path.startswith(start):
                        answer(self)
                        return
                getattr(world, f"on_{self.command.lower()}")(self)

            do_GET = do_POST = do

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that was killed, or hung up
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    # what is released

    def release(self, name, version, files, flags=0, offer=True):
        """A version that everybody gets."""
        entries = []
        for path, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            self.files[digest] = data
            entries.append(File(path, digest, len(data)))
        manifest = Manifest.of(name, f"v{version}", entries)
        return self.sign(name, version, manifest.encode(), flags, offer)

    def sign(self, name, version, manifest, flags=0, offer=True):
        """Lists the bytes of a manifest, whatever they are, and offers them."""
        self.fleet.release(name, version, manifest)
        made = AnswerTask(
            name, version, hashlib.sha256(manifest).digest(), len(manifest), f"{self.url}/walle", flags
        )
        if offer:
            self.offered[name] = made
            self.quiet.clear()
        return made

    def withdraw(self, name):
        del self.offered[name]
        self.quiet.clear()

    def answer(self, device, nonce=b"", **options):
        return self.fleet.answer(*self.offered.values(), device=device, nonce=nonce, **options)

    # what it serves

    def on_get(self, handler):
        path = handler.path
        if path == "/walle/check":
            handler.answer(204 if handler.headers["Walle-Profile"] in self.quiet else 428)
        elif path.startswith("/walle/images/"):
            file = self.fleet.folder / "images" / path.removeprefix("/walle/images/")
            handler.answer(200, file.read_bytes()) if file.is_file() else handler.answer(404)
        elif path.startswith("/walle/files/"):
            data = self.files.get(path.removeprefix("/walle/files/").replace("/", ""))
            handler.answer(404) if data is None else handler.answer(200, data)
        elif path.startswith("/walle/deltas/"):
            found = self.deltas.get(path.rpartition("/")[2])
            handler.answer(404) if found is None else handler.answer(200, msgspec.json.encode(found))
        else:
            handler.answer(404)

    def on_post(self, handler):
        body = handler.data
        if handler.path == "/walle/register":
            asked = json.loads(body)
            if asked["enrol"] != SECRET:
                handler.answer(403)
            else:
                handler.answer(200, json.dumps({"token": f"token-{asked['id']}"}).encode())
        elif handler.path == "/walle/check":
            profile = Profile.read(body)
            if handler.headers["Authorization"] != f"Bearer token-{profile.id}":
                handler.answer(401)
            elif profile.installed == {name: f"v{task.version}" for name, task in self.offered.items()}:
                self.quiet.add(profile.header())
                handler.answer(204)
            else:
                text = handler.headers["Walle-Nonce"] or ""
                nonce = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
                handler.answer(200, self.answer(profile.id, nonce))
        elif handler.path == "/walle/reports":
            if handler.headers["Authorization"] != f"Bearer token-{handler.headers['Walle-Id']}":
                handler.answer(401)
                return
            self.take(msgspec.msgpack.decode(body))
            handler.answer(204)
        else:
            handler.answer(404)

    def take(self, reports):
        with self.changed:
            for number, *rest in reports:
                assert self.reports.setdefault(number, rest) == rest, f"number {number} twice"
            self.changed.notify_all()

    def told(self, count, timeout=10.0):
        """The reports, once there are so many: [task, version, failed, values, why] in the order of their numbers."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.reports) >= count, timeout), self.reports
            return [self.reports[number] for number in sorted(self.reports)]

    # who uses it

    def agent(self, folder, **options):
        options = {"device": "phone-1", "enrol": SECRET, "settings": QUICK, "backends": False, **options}
        options.setdefault("clock", self.fleet.clock)
        options.setdefault("disk", QuickDisk())
        return Agent(folder, self.url, self.fleet.bootstrap, **options)


class Told:
    """Keeps what an agent tells."""

    def __init__(self):
        self.all, self.changed = [], threading.Condition()

    def __call__(self, happening):
        with self.changed:
            self.all.append(happening)
            self.changed.notify_all()

    def await_(self, kind, count=1, timeout=20.0):
        """The texts of a kind, once there are so many."""

        def found():
            return [one.text for one in self.all if one.kind == kind]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, timeout), self.all
            return found()

    def kinds(self):
        return [one.kind for one in self.all]


def loaded(folder, files, number=1, name="a"):
    """A version as if it were installed."""
    folder.mkdir(parents=True)
    entries = []
    for path, data in files.items():
        (folder / path).write_bytes(data)
        entries.append(File(path, hashlib.sha256(data).hexdigest(), len(data)))
    manifest = Manifest.of(name, f"v{number}", entries)
    return Loaded.of(Version(manifest, manifest.digest, folder))


def visit(number, key="ann"):
    """The events of one visit."""
    from walle_pipeline import Click, PageEnter, PageExit

    start = 1_000_000 + 10_000 * number
    return [
        PageEnter("item", start, key, 3 * number + 1, number + 1),
        Click("item", start + 1000, key, 3 * number + 2, number + 1, widget="buy"),
        PageExit("item", start + 2000, key, 3 * number + 3, number + 1),
    ]
