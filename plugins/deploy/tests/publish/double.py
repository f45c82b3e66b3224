"""A server as the API describes it, in memory: enough of it for the client."""

import base64
import contextlib
import hashlib
import json
import threading
import time

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from walle_deploy.errors import DeployError
from walle_deploy.manifest import Manifest
from walle_deploy.release import events
from walle_deploy.release.explain import explain
from walle_deploy.release.machine import step
from walle_deploy.store.deltas_index import DeltaIndex, decode
from walle_deploy.store.files import FileStore
from walle_deploy.trust.images import target_path


class Refused(Exception):
    def __init__(self, status, error, fix=""):
        super().__init__(error)
        self.status, self.error, self.fix = status, error, fix


class Double:
    def __init__(self, repository, online):
        self.repository, self.online = repository, online
        self.store = FileStore.open("memory://", b"s" * 16)
        self.index = DeltaIndex(self.store)
        self.tasks, self.segments, self.states, self.asked = {}, {}, {}, []
        self.tokens = {"good": "admin"}
        self.broken = lambda request: None  # what raises breaks the connection

    def routes(self):
        names = {
            "GET /tasks": lambda r: list(self.tasks.values()),
            "POST /tasks": self.add_task,
            "GET /tasks/{t}": self.task,
            "PATCH /tasks/{t}": self.patch,
            "GET /segments/{t}": lambda r: self.segments.get(r.path_params["t"]) or self.none("segment"),
            "PUT /segments/{t}": self.segment,
            "HEAD /files/{d}": self.head,
            "PUT /files/{d}": self.put,
            "GET /deltas/{d}": lambda r: json.loads(self.index.read(r.path_params["d"]) or b"[]"),
            "PUT /deltas/{d}": self.deltas,
            "POST /tasks/{t}/versions": self.version,
            "POST /images/sign": self.sign,
            "POST /images/publish": self.publish,
            "POST /images/{t}/{n}/stage": self.stage,
            "POST /tasks/{t}/releases": self.release,
            "GET /releases": lambda r: [
                self.shown(i) for i in sorted(self.states, reverse=True)
                if r.query_params.get("task") in (None, self.states[i][0])
            ],
            "GET /releases/{i}": lambda r: self.shown(int(r.path_params["i"])),
            "POST /releases/{i}/{what}": self.change,
            "POST /tasks/{t}/versions/{n}/revoke": self.revoke,
            "GET /explain": lambda r: {"device": r.query_params["device"], "line": "because"},
            "GET /events": self.events,
        }  # fmt: skip
        for name, handler in names.items():
            method, path = name.split()
            yield Route("/api/v1" + path, self.handled(handler), methods=[method])

    def handled(self, handler):
        async def handle(request):
            request.state.data = await request.body()
            self.asked.append((request.method, request.url.path))
            try:
                if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                    raise Refused(401, "the token is not known")
                self.broken(request)
                made = handler(request)
            except Refused as e:
                return JSONResponse({"error": e.error, "fix": e.fix}, e.status)
            except DeployError as e:
                return JSONResponse({"error": str(e), "fix": ""}, 400)
            return made if isinstance(made, Response) else JSONResponse(made)

        return handle

    def none(self, what):
        raise Refused(404, f"there is no such {what}")

    def add_task(self, r):
        values = json.loads(r.state.data)
        self.tasks[values["name"]] = {**values, "versions": [], "stable": None}
        return {}

    def task(self, r):
        return self.tasks.get(r.path_params["t"]) or self.none("task")

    def patch(self, r):
        self.task(r).update(json.loads(r.state.data))
        return {}

    def segment(self, r):
        self.segments[r.path_params["t"]] = json.loads(r.state.data)["policy"]
        return {}

    def head(self, r):
        there = self.store.has(r.path_params["d"], r.query_params.get("device", ""))
        return Response(status_code=200 if there else 404)

    def put(self, r):
        if hashlib.sha256(r.state.data).hexdigest() != r.path_params["d"]:
            raise Refused(400, "not its digest")
        self.store.put(r.state.data, r.query_params.get("device", ""))
        return {}

    def deltas(self, r):
        self.index.put(r.path_params["d"], decode(r.state.data))
        return {}

    def version(self, r):
        values, task = json.loads(r.state.data), self.task(r)
        manifest = Manifest.decode(base64.b64decode(values["manifest"]))
        policy = task["policy"]
        for file in manifest.files:
            if not self.store.has(file.sha256, policy["devices"][0] if file.exclusive else ""):
                raise Refused(409, f"{file.path} is missing", "upload it")
        task["versions"] = [v for v in task["versions"] if v["number"] != values["number"]]
        task["versions"].append(
            {
                "number": values["number"],
                "manifest": manifest.digest,
                "published": False,
                "commit": values["commit"],
            }
        )
        self.manifests = {**getattr(self, "manifests", {}), (task["name"], values["number"]): manifest}
        return {}

    def stage(self, r):
        task, number = r.path_params["t"], int(r.path_params["n"])
        role = self.repository.add(task, number, self.manifests[task, number].encode())
        before = self.repository._shelf.newest_path(role)
        return {
            "role": role,
            "metadata": base64.b64encode(self.repository._shelf.staged(role).signed_bytes).decode(),
            "before": base64.b64encode(before.read_bytes() if before else b"").decode(),
        }

    def sign(self, r):
        from securesystemslib.signer import Signature
        from walle_deploy.trust.keys import write_durably
        from walle_deploy.trust.shelf import to_bytes

        values = json.loads(r.state.data)
        metadata = self.repository._shelf.staged(values["role"])
        metadata.signatures[values["keyid"]] = Signature(values["keyid"], values["signature"])
        write_durably(self.repository._shelf.staged_path(values["role"]), to_bytes(metadata))
        return {}

    def publish(self, r):
        self.repository.publish(*self.online)
        for task in self.tasks.values():
            for version in task["versions"]:
                path = target_path(task["name"], version["number"])
                version["published"] = path in self.repository._shelf.published("targets").signed.targets
        return {}

    def release(self, r):
        values, task = json.loads(r.state.data), self.task(r)
        before = f"v{task['stable']}" if task["stable"] else None
        event = events.Created(
            at=time.time(), version=f"v{values['version']}", previous=before, plan=values["plan"]
        )
        self.states[len(self.states) + 1] = [task["name"], step(None, event)[0]]
        return {"id": len(self.states)}

    def shown(self, i):
        if i not in self.states:
            self.none("release")
        task, state = self.states[i]
        return {
            "id": i,
            "task": task,
            "version": int(state.version[1:]),
            "standing": msgspec.to_builtins(explain(state)),
        }

    def change(self, r):
        i, what, values = int(r.path_params["i"]), r.path_params["what"], json.loads(r.state.data)
        self.shown(i)
        at, why = time.time(), values.get("why", "")
        event = {
            "approve": lambda: events.Approve(at=at, who="me", role="admin"),
            "pause": lambda: events.Pause(at=at),
            "resume": lambda: events.Resume(at=at),
            "rollback": lambda: events.Rollback(at=at, who="me", why=why),
            "simulated": lambda: events.Simulated(at=at, passed=values["passed"], why=why),
        }[what]()
        self.states[i][1] = step(self.states[i][1], event)[0]
        self.changed(i)
        return {}

    def changed(self, i):
        for woken in getattr(self, "listeners", []):
            woken.append(i)

    def revoke(self, r):
        for version in self.task(r)["versions"]:
            if version["number"] == int(r.path_params["n"]):
                version["revoked"] = json.loads(r.state.data)["why"]
        return {}

    def events(self, r):
        import asyncio

        woken = []
        self.listeners = [*getattr(self, "listeners", []), woken]

        async def lines():
            while True:
                while woken:
                    yield f'data: {{"release": {woken.pop()}, "line": ""}}\n\n'
                await asyncio.sleep(0.02)

        return StreamingResponse(lines(), media_type="text/event-stream")


@contextlib.contextmanager
def running(double):
    config = uvicorn.Config(
        Starlette(routes=list(double.routes())), port=0, log_level="critical", lifespan="off"
    )
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def told(*args, **kwargs):
        await startup(*args, **kwargs)
        started.set()

    server.startup = told
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)
