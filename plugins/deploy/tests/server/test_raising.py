"""Raising a percentage adds devices and removes none: through all stages of releases, for many devices."""

import os
import random

import msgspec
import pytest
from core_world import FULL, gray, plan
from walle_deploy.buckets import bucket
from walle_deploy.release.events import Created
from walle_deploy.release.machine import step
from walle_deploy.server.choice import Choice

MILLION = os.environ.get("WALLE_FULL", "") not in {"", "0"}
DEVICES = 1_000_000 if MILLION else 4_000
TASK, NEW, OLD = "digits", "v2", "v1"
GROWS = (0.01, 0.1, 1, 5, 10, 33.3, 50, 99.9)


@pytest.mark.parametrize("seed", range(3))
def test_a_device_that_has_the_version_keeps_it(seed):
    """The control is drawn anew in each stage from those that may still get the version, and never grows."""
    dice = random.Random(seed)
    percents = sorted(dice.sample(GROWS, 5))
    controls = sorted((dice.choice((0.02, 0.05, 0.3, 0.5)) for _ in percents), reverse=True)
    stages = [gray(percent, control=control) for percent, control in zip(percents, controls, strict=True)]
    last = {**FULL, "control": min(0.05, controls[-1])}
    made = Created(at=0.0, version=NEW, previous=OLD, plan=plan(*stages, last))
    state, _ = step(None, made)
    places = [bucket(TASK, f"device-{number}") for number in range(DEVICES)]
    running = [OLD] * DEVICES
    reached = [0]
    for stage in range(len(stages) + 1):
        choice = Choice(msgspec.structs.replace(state, stage=stage))
        for number, place in enumerate(places):
            told = choice.pick(f"device-{number}", place, running[number], beta=False)
            assert told == NEW or running[number] == OLD, f"device-{number} lost it in stage {stage}"
            running[number] = told
        reached.append(running.count(NEW))
        of_all = 1.0 if stage == len(stages) else percents[stage] / 100
        control = last["control"] if stage == len(stages) else controls[stage]
        wanted = DEVICES * of_all * (1 - control)
        assert abs(reached[-1] - wanted) <= 6 * (wanted**0.5) + 1  # six standard deviations of a draw
    assert reached == sorted(reached)
