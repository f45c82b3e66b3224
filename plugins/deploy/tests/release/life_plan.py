"""The plan that random lives of a release follow: every kind of stage, and gates that they can pass."""

import os

from hypothesis import strategies as st
from walle_deploy.release.offers import draw

FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
EXAMPLES, STEPS = (200, 120) if FULL else (40, 60)
RATE, SAMPLE, LASTS, GAP, SILENCE = 60, 2, 20.0, 15.0, 100.0
PLAN = {
    "gap": GAP,
    "watch": 30,
    "stages": [
        {"kind": "simulation", "gates": [{"kind": "approval", "approvers": 1, "roles": ["lead"]}]},
        {
            "kind": "beta",
            "devices": ["d0", "d1", "d2"],
            "policy": "staff",
            "silence": SILENCE,
            "gates": [{"kind": "approval", "approvers": 2}],
        },
        {
            "kind": "gray",
            "percent": 30,
            "silence": SILENCE,
            "gates": [
                {"kind": "time", "seconds": LASTS},
                {"kind": "sample", "reports": SAMPLE},
                {"kind": "budget", "per_minute": RATE},
            ],
        },
        {
            "kind": "gray",
            "percent": 60,
            "control": 0.3,
            "silence": SILENCE,
            "gates": [{"kind": "sample", "reports": SAMPLE}, {"kind": "budget", "per_minute": RATE}],
        },
        {"kind": "full", "control": 0.2, "silence": SILENCE},
    ],
}
DEVICES = [f"d{number}" for number in range(60)]
devices = st.sampled_from(DEVICES)


def bucket_of(device):
    return draw(DEVICES.index(device), "buckets")
