"""A fleet of 200 simulated devices and one real agent gets three versions of a task from a real server.

v1 goes through simulation and beta to all, slowed by a budget. v2 is broken in a way that no recorded log shows, and is rolled back by
itself. v3 mends that, goes through simulation, beta and gray to all, and asks a larger model in the cloud where the small one is not sure.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from digits import export
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from walle_deploy.agent.agent import Agent
from walle_deploy.agent.settings import Happening, Settings
from walle_deploy.errors import DeployError
from walle_deploy.fleet.running import run_fleet
from walle_deploy.publish.following import follow
from walle_deploy.simulate import Limits, simulate

from fleet.people import Large, cloud, draw, record
from fleet.task import NAME, files
from fleet.world import World, world

AGENT, DEVICES = "phone-of-ada", 200
FAILING = {"v1": 0.01, "v2": 0.35, "v3": 0.01}  # share of the simulated devices' runs
PATIENCE_S = 90.0  # for one release
_SAMPLE = {"kind": "sample", "reports": 50}
_HALF = {"kind": "gray", "percent": 60, "control": 0.5, "gates": [_SAMPLE], "silence": 60}
BETA = {
    "kind": "beta", "devices": [AGENT], "control": 0.0,
    "gates": [{"kind": "time", "seconds": 3}, {"kind": "approval", "roles": ["approver"]}],
}  # fmt: skip
# No version was there before: nothing can be compared, so a budget of devices a minute slows the way to all of them.
FIRST = {
    "watch": 0,
    "stages": [
        {"kind": "simulation"},
        BETA,
        {"kind": "full", "control": 0.0, "gates": [{"kind": "budget", "per_minute": 1200}]},
    ],
}  # fmt: skip
NEXT = {"watch": 5, "stages": [{"kind": "simulation"}, BETA, _HALF, {"kind": "full", "control": 0.05}]}

console = Console(highlight=False)
say = partial(console.print, soft_wrap=True)


class Story:
    """What is told, and what must come out of it.

    Args:
        out: folder for pictures.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        data = load_digits()
        self.drawings, self.labels = data.data.astype(np.uint8), data.target
        self.fit, self.rest = train_test_split(
            np.arange(len(self.labels)), test_size=0.5, random_state=0, stratify=self.labels
        )
        self.statuses: dict[int, str] = {}
        self.happened: list[Happening] = []

    def tell(self) -> bool:
        """Runs everything; whether it came out as it should.

        The fleet's folders hold private keys, which must not lie in a git working tree: they are temporary, and stay if this fails.
        """
        place = Path(tempfile.mkdtemp(prefix="walle-demo-"))
        try:
            came_out = self._tell(place)
        except BaseException:
            say(f"the fleet's folders are in {place}")
            raise
        if came_out:
            shutil.rmtree(place)
        else:
            say(f"the fleet's folders are in {place}")
        return came_out

    def _tell(self, place: Path) -> bool:
        with ExitStack() as stack:
            small = self._small(place)
            say(f"[bold]5.[/] a fleet: one server, {DEVICES} simulated devices, one real agent")
            here = stack.enter_context(world(place))
            say(f"   server and dashboard: {here.url}  (git repository of the task: {place / 'tasks'})")
            logs = record(place / "logs", self.drawings[self.fit])
            agent = stack.enter_context(self._agent(here, place))
            stop = threading.Event()
            stack.enter_context(_thread(stop, partial(draw, agent, self.drawings[self.rest], stop)))
            stack.enter_context(
                _thread(
                    stop,
                    partial(run_fleet, here.url, here.enrol, devices=DEVICES, versions=FAILING, stop=stop),
                )
            )
            large = Large(self._large(), self._truth())
            service = stack.enter_context(cloud(here.folder, large))

            before: dict[str, bytes] | None = None
            for number, plan, message in (
                (1, FIRST, "Reads the digit that a user has drawn"),
                (2, NEXT, "More contrast"),
                (3, NEXT, "More contrast, empty drawings too; asks the cloud when it is not sure"),
            ):
                new = files(number, small, self.drawings[3])
                self._release(here, number, plan, message, new, before, logs)
                if self.statuses[number] == "finished":
                    before = new
            self._collaboration(here, service, large)
            self._pictures(here)
            stop.set()
        return self._came_out()

    # -- parts --------------------------------------------------------------------------------------------------------

    def _small(self, place: Path) -> bytes:
        network = MLPClassifier((12,), max_iter=400, random_state=0, tol=1e-3, learning_rate_init=3e-3)
        network.fit(self.drawings[self.fit] / 16, self.labels[self.fit])
        export(network, place / "small.onnx", 1)
        self.small = network
        return (place / "small.onnx").read_bytes()

    def _large(self) -> MLPClassifier:
        network = MLPClassifier((256, 128), max_iter=200, random_state=0)
        return network.fit(self.drawings[self.fit] / 16, self.labels[self.fit])

    def _truth(self) -> dict[bytes, int]:
        rest = self.rest
        return {self.drawings[at].tobytes(): int(self.labels[at]) for at in rest}

    @contextmanager
    def _agent(self, here: World, place: Path) -> Iterator[Agent]:
        agent = Agent(
            place / "agent", here.url, here.root, AGENT, enrol=here.enrol, user={"country": "de"},
            tunnel=here.tunnel, settings=Settings(every_s=1.0, first_s=0.2, longest_s=2.0), tell=self._heard,
            backends=False,
        )  # fmt: skip
        with agent:
            yield agent

    def _heard(self, happening: Happening) -> None:
        self.happened.append(happening)
        if happening.kind in {"installed", "reverted", "removed", "refused", "problem"}:
            say(f"   [dim]{AGENT}: {happening.text}[/]", markup=True)

    def _release(
        self,
        here: World,
        number: int,
        plan: dict[str, Any],
        message: str,
        new: dict[str, bytes],
        before: dict[str, bytes] | None,
        logs: list[Path],
    ) -> None:
        say(f"\n   [bold]v{number}[/] {message}")
        made = here.version(NAME, new, message)
        assert made == number
        release = here.operator.create_release(NAME, number, plan)
        found = simulate(new, logs, baseline=before, limits=Limits(runs=100))
        say(f"   simulation: {found.why or 'passed'}")
        here.operator.simulated(release, found.passed, found.why)
        self.statuses[number] = self._watch(here, release)

    def _watch(self, here: World, release: int) -> str:
        end, said, approved = time.monotonic() + PATIENCE_S, "", False
        with Progress(
            TextColumn("   {task.description:<34}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[failed]}"), TimeElapsedColumn(), console=console, transient=False,
        ) as bars:  # fmt: skip
            bar = bars.add_task("", total=DEVICES + 1, failed="")
            for seen in follow(here.operator, release, poll_s=0.5):
                standing = seen.standing
                treated, control = zip(standing.reports, standing.failed, strict=True)
                failed = f"failed {treated[1]}/{treated[0]}" + (
                    f", control {control[1]}/{control[0]}" if control[0] else ""
                )
                line = f"{standing.title} ({standing.status})"
                if line != said:
                    bars.print(f"   [dim]{standing.line}[/]", soft_wrap=True)
                    said = line
                bars.update(bar, completed=seen.reached, description=line, failed=failed)
                waits = [gate.name for gate in standing.gates if not gate.met]
                if not approved and [name for name in waits if "approval" in name] == waits != []:
                    here.approver.approve(release, "the beta device works")
                    bars.print("   [dim]amir approves: the beta device works[/]")
                    approved = True
                if time.monotonic() > end:
                    raise DeployError(
                        f"release {release} is not over after {PATIENCE_S:.0f} s: {standing.line}"
                    )
            while seen.reached != (aim := DEVICES + 1 if standing.status == "finished" else 0):
                if time.monotonic() > end:
                    raise DeployError(
                        f"{seen.reached} devices have the version after {PATIENCE_S:.0f} s, not {aim}"
                    )
                time.sleep(0.5)
                seen = here.operator.release(release)
                bars.update(bar, completed=seen.reached)
        say(f"   [bold]{standing.line}[/]")
        return standing.status

    def _collaboration(self, here: World, service: Any, large: Large) -> None:
        say("\n   the cloud answers where v3 is not sure")
        end = time.monotonic() + 20
        while large.known < 10 and time.monotonic() < end:
            time.sleep(0.2)
        for cost in service.costs():
            share = f"{cost.share:.0%} of {cost.runs} runs, " if cost.share is not None else ""
            if not cost.samples:
                continue
            say(
                f"   {cost.task} {cost.version}: {cost.samples} samples sent ({share}{cost.bytes_up / 1000:.0f} kB), "
                f"{cost.ms:.0f} ms of the large model; it read {large.right} of {large.known} right"
            )
        self.answered = large.known

    def _pictures(self, here: World) -> None:
        folder = self.out / "dashboard"
        figure, axes = plt.subplots(1, 3, figsize=(13, 3.4), sharey=True)
        for axis, release in zip(axes, sorted(here.operator.releases(NAME), key=lambda r: r.id), strict=True):
            points = here.operator.curve(release.id)
            at = [point.at - points[0].at for point in points]
            axis.plot(at, [point.reached for point in points], label="devices with the new version")
            axis.plot(at, [point.treated_failed for point in points], label="failed runs of it", color="C3")
            axis.set_title(f"v{release.version}: {release.status}")
            axis.set_xlabel("seconds")
        axes[0].set_ylabel("devices, runs")
        axes[0].legend()
        figure.tight_layout()
        figure.savefig(self.out / "releases.png", dpi=110)
        plt.close(figure)
        try:
            from walle_deploy.server.pages.shots import screenshots

            made = screenshots(here.url, here.token, folder)
            say(f"   {len(made)} pictures of the dashboard are in {folder}")
        except DeployError as error:
            say(f"   no pictures of the dashboard: {error}")

    def _came_out(self) -> bool:
        kinds = {happening.kind for happening in self.happened}
        wrong = [
            what
            for what, fine in (
                (f"releases ended as {self.statuses}", [*self.statuses.values()] == ["finished", "rolled back", "finished"]),
                ("the agent installed nothing", "installed" in kinds),
                ("the cloud answered nothing", self.answered > 0),
            )
            if not fine
        ]  # fmt: skip
        for what in wrong:
            say(f"   [red]{what}[/]")
        return not wrong


@contextmanager
def _thread(stop: threading.Event, run: Callable[[], object]) -> Iterator[None]:
    """Runs something until `stop`; what it raised is raised at the end of the context."""
    failed: list[BaseException] = []

    def body() -> None:
        try:
            run()
        except BaseException as error:
            failed.append(error)
            say(f"   [red]{type(error).__name__}: {error}[/]")

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        if failed and sys.exc_info()[0] is None:
            raise failed[0]
