"""Tasks that are right and wrong in one way each, and recorded logs for them."""

from pathlib import Path

from walle_pipeline.demo.sessions import sessions
from walle_pipeline.log import EventLog

HEAD = """\
[task]
name = "visits"
[trigger]
page_visit = "item"
[inputs]
events = {{ dtype = "events" }}
[outputs]
n = {{ dtype = "json" }}
score = {{ dtype = "float32", shape = [2] }}
[features]
clicks = "int"
[resources]
time_ms = {time_ms}
memory_mb = {memory_mb}
"""
BODY = """\
{before}
def main(events):
    clicks = sum(event["kind"] == "click" for event in events)
    n = len(events)
    {inside}
    return {{"n": n, "score": [float(n), float(clicks)], "features": {{"clicks": clicks}}}}
"""
GOOD = "pass"


def task(inside=GOOD, before="", config="", time_ms=2000, memory_mb=64):
    """A task that counts; `inside` its entry, `before` it and in its walle.toml may be more."""
    return {
        "walle.toml": (HEAD.format(time_ms=time_ms, memory_mb=memory_mb) + config).encode(),
        "main.py": BODY.format(inside=inside, before=before).encode(),
    }


def recorded(path: Path, visits=120, seed=1, **options) -> Path:
    """A log of visits of items' pages."""
    with EventLog(path, block=200) as log:
        log.append(sessions(seed=seed, users=10, visits=visits, **options))
    return path
