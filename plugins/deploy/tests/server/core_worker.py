"""Another worker in a process of its own: ``python core_worker.py MODE URL``; one JSON line when it is ready, one at the end."""

import json
import sys
import threading
import time
from concurrent.futures import Future

from core_world import answer, opened
from walle_deploy.profile import Profile
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.types import DeviceReport

DEVICES = [f"w{number}" for number in range(200)]


def say(**values):
    print(json.dumps(values), flush=True)


def offer(platform, stopped):
    """Checks devices that have v1 all the time; tells when the last check began that offered another version."""
    last, busy = {}, 0
    while not stopped.is_set():
        for device in DEVICES:
            start = time.monotonic()
            try:
                wire = platform.check(Profile(device, {}, {}, {"digits": "v1"}))
            except BusyError:
                busy += 1
                continue
            for task in answer(wire).tasks if wire is not None else ():
                if task.version not in last:
                    say(offered=task.version)
                last[task.version] = start
    say(busy=busy, last=last)


def write(platform, stopped):
    """Reports and describes devices that another process reports and describes, too."""
    say(ready=True)
    done = []
    name = sys.argv[3]
    for number in range(300):
        report = DeviceReport(number, "digits", "v2", failed=False)
        done.append(platform.begin_report(f"{name}{number}", [report]))
        profile = Profile(f"d{number % 50}", {"of": name}, {}, {"digits": f"v{1 + number % 2}"})
        asked = platform.begin_check(profile)
        if isinstance(asked, Future):  # who is to go back waits for the next look at the database
            done.append(asked)
    for each in done:
        each.result(60)
    platform._writer.flush()
    say(done=True)


if __name__ == "__main__":
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    with opened(sys.argv[2], None, poll=0.05, lease=0.25) as platform:
        {"offer": offer, "write": write}[sys.argv[1]](platform, stopped)
