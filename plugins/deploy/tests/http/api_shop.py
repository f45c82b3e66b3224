"""What each operation of the API needs to succeed."""

import base64
import hashlib
import time

from walle_deploy.manifest import File, Manifest
from walle_deploy.server.api.routing import PREFIX

DATA = b"content of a file"
SHA = hashlib.sha256(DATA).hexdigest()
WHY = {"why": "because"}
EVERYONE = {"everyone": True}
WAITS = {"stages": [{"kind": "gray", "percent": 10, "gates": [{"kind": "approval"}]}, {"kind": "full"}]}


class Shop:
    """What each operation needs to succeed, made anew where it uses something up."""

    def __init__(self, world):
        self.world, self.count = world, 0

    def task(self, policy=EVERYONE):
        self.count += 1
        self.world.add_task(f"task-{self.count}", policy)
        return f"task-{self.count}"

    def version(self, number=1):
        """A task with a published version."""
        task = self.task()
        self.world.publish(task, number, {"main.py": DATA + task.encode()})
        return task

    def added(self):
        """A task with a version that is not published."""
        task = self.task()
        manifest = self.manifest(task)
        self.world.call(
            "POST", f"{PREFIX}/tasks/{task}/versions", self.world.version(manifest, 1), expect=201
        )
        return task

    def manifest(self, task, number=1):
        self.world.call("PUT", f"{PREFIX}/files/{SHA}", DATA)
        return Manifest.of(task, f"v{number}", [File("main.py", SHA, len(DATA))])

    def release(self, plan=WAITS):
        return self.world.release(self.version(), 1, plan)

    def paused(self):
        release = self.release()
        self.world.call("POST", f"{PREFIX}/releases/{release}/pause", WHY, expect=204)
        return release

    def simulating(self):
        return self.release({"stages": [{"kind": "simulation"}, *WAITS["stages"]]})

    def segment(self):
        self.count += 1
        name = f"segment-{self.count}"
        self.world.call("PUT", f"{PREFIX}/segments/{name}", {"policy": EVERYONE}, expect=204)
        return name

    def token(self):
        return self.world.call("POST", f"{PREFIX}/tokens", {"name": "x", "role": "viewer"}, expect=201).json[
            "id"
        ]

    def signature(self):
        task = self.added()
        proposal = self.world.call("POST", f"{PREFIX}/images/{task}/1/stage", expect=200).json
        key = self.world.keys["targets"]
        made = key.private.sign(base64.b64decode(proposal["metadata"])).hex()
        return {"role": "targets", "keyid": key.public.tuf.keyid, "signature": made}

    def new_version(self):
        task = self.task()
        return {"task": task}, self.world.version(self.manifest(task), 1)

    def new_file(self):
        self.count += 1
        data = f"file {self.count}".encode()
        return {"sha256": hashlib.sha256(data).hexdigest()}, data

    def device(self):
        from walle_deploy.profile import Profile

        assert self.world.check(Profile("phone-1", {"os": "ios"})).status in {200, 204}
        end = time.monotonic() + 5  # profiles are written together, a little later
        while self.world.call("GET", f"{PREFIX}/devices/phone-1").status != 200 and time.monotonic() < end:
            time.sleep(0.01)
        return "phone-1"

    def delta(self):
        (place, data) = self.new_file()
        self.world.call("PUT", f"{PREFIX}/files/{place['sha256']}", data, expect=201)
        return [{"codec": "bsdiff", "base": "1" * 64, "sha256": place["sha256"], "size": len(data)}]

    def bump(self):
        self.count += 1
        return self.count

    def signed(self):
        self.world.call("POST", f"{PREFIX}/images/sign", self.signature(), expect=200)
        return {}

    def there(self):
        self.manifest("any")
        return SHA
