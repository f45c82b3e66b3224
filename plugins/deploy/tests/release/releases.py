"""A release to try things on: events one after another, and what came of them."""

import itertools

from walle_deploy.release.events import Admit, Approve, Created, Report, Simulated, Tick
from walle_deploy.release.machine import step
from walle_deploy.release.state import decode, encode

GRAY = {"kind": "gray", "percent": 10}
FULL = {"kind": "full"}


def plan(*stages, **fields):
    return {"stages": list(stages), **fields}


class Release:
    """Sends events with a running clock; `effects` are those of the last one, `told` all."""

    def __init__(self, *stages, previous="v1", gates=None, **fields):
        self.now, self.gates, self.told = 0.0, gates, []
        self.numbers = itertools.count()
        self.state = None
        self.send(Created(at=0.0, version="v2", previous=previous, plan=plan(*stages, **fields)))

    def send(self, event):
        state, self.effects = step(self.state, event, self.gates)
        self.state = decode(encode(state))
        assert self.state == state
        self.told += self.effects
        return self.effects

    def wait(self, seconds, every=10.0):
        while seconds > 0:
            self.now += min(seconds, every)
            seconds -= every
            self.send(Tick(at=self.now))

    def report(self, treated, failed=False, device=None, number=0, **fields):
        return self.send(
            Report(
                at=self.now,
                device=device or f"n{next(self.numbers)}",
                number=number,
                version="v2" if treated else self.state.previous,
                arm="treatment" if treated else "control",
                failed=failed,
                **fields,
            )
        )

    def reports(self, count, **fields):
        for _ in range(count):
            self.report(True, **fields)
            self.report(False, **fields)

    def break_it(self, most=200):
        """Every run of the new version fails; until the release is rolled back."""
        for count in range(most):
            if self.state.final:
                return count
            self.report(True, failed=True)
            self.report(False)
        raise AssertionError("not rolled back")

    def approve(self, who, role=""):
        return self.send(Approve(at=self.now, who=who, role=role))

    def simulated(self, passed=True, why=""):
        return self.send(Simulated(at=self.now, passed=passed, why=why))

    def admit(self, device, bucket, **fields):
        return self.send(Admit(at=self.now, device=device, bucket=bucket, **fields))[0]
