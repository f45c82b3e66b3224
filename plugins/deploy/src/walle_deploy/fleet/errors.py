"""What can go wrong with a simulated fleet."""

from walle_deploy.errors import DeployError


class FleetError(DeployError):
    """A fleet that cannot be simulated as it is asked for."""


class BrokenRuleError(FleetError):
    """A device was told what no device may be told: a fault of the server."""
