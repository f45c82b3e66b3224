"""The operator's side of a server: its HTTP API as Python calls."""

from walle_deploy.client.api import DeployClient
from walle_deploy.client.http import Connection, ServerError

__all__ = ["Connection", "DeployClient", "ServerError"]
