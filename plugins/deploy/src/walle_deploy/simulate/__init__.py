"""Stage zero of a release: a version replays recorded events in the process of a device's agent, before any device sees it."""

from walle_deploy.simulate.counts import Example
from walle_deploy.simulate.errors import SimulationError
from walle_deploy.simulate.executors import Progress
from walle_deploy.simulate.limits import Limits
from walle_deploy.simulate.replay import replay
from walle_deploy.simulate.result import Simulation
from walle_deploy.simulate.simulation import simulate

__all__ = ["Example", "Limits", "Progress", "Simulation", "SimulationError", "replay", "simulate"]
