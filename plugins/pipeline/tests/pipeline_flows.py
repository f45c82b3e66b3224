"""Flows and events that tests share."""

from walle_pipeline import (
    Click,
    Flow,
    click,
    exposure,
    hopping,
    page_enter,
    session,
    tumbling,
)
from walle_pipeline.aggregates import collect


def clicks(times, key="u"):
    return [Click("p", t, key, i + 1, contents={"n": i}) for i, t in enumerate(times)]


def everything(found, timeouts=None):
    flow = Flow("f")
    source = flow.events()
    source.count(tumbling(7)).to(found["tumbling"])
    source.window(hopping(9, 3), collect(value=lambda e: e.id)).to(found["hopping"])
    source.window(session(4), collect(value=lambda e: e.id)).to(found["session"])
    flow.events("click").join(flow.events("exposure"), 5).map(lambda p: (p[0].id, p[1].id)).to(found["join"])
    source.dedupe(lambda e: e.kind, keep_ms=6).map(lambda e: e.id).to(found["dedupe"])
    matched = flow.on(page_enter().followed_by(click().repeat(1, 2)).not_before(exposure()).within(0.02))
    matched.map(lambda m: [e.id for e in m.events]).to(found["match"])
    return flow


def lists():
    return {name: [] for name in ("tumbling", "hopping", "session", "join", "dedupe", "match")}
