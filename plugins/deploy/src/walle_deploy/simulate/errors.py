"""What can go wrong with a simulation itself; what a task does wrong is a result of it."""

from __future__ import annotations

from walle_deploy.errors import DeployError


class SimulationError(DeployError):
    """A simulation that cannot be made: logs that are not there, an executor that is not installed, limits that contradict."""
