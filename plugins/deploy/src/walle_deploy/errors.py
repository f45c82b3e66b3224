"""What can go wrong in the deployment platform; every error says what, where and what to do."""

from walle_core.errors import WalleError


class DeployError(WalleError):
    """A task, policy, release or answer that cannot be used."""


class PolicyError(DeployError):
    """A policy that cannot be compiled, or a profile that it cannot be asked about."""


class ReleaseError(DeployError):
    """A release plan that cannot work, or a step that its state does not allow."""


class StoreError(DeployError):
    """A file that is not there, is not what its digest says, or cannot be written."""


class TrustError(DeployError):
    """A signature, expiry, version or delegation that does not hold: what it covers must not be used."""


class TaskError(DeployError):
    """A task's repository, tree or walle.toml that does not fit together."""


class HookError(DeployError):
    """A header of the hooks, or an origin for them, that cannot be used; or a check that could not be made."""


class CloudError(DeployError):
    """A larger model, a sink or a setting of the cloud's side that cannot be used."""
