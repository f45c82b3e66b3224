"""For tests of what talks to the deployment server."""

from walle_deploy.server.testing.asking import QUICK, Answered, RefusedError, Requests, make_folder, said
from walle_deploy.server.testing.process import RunningServer, running_server

__all__ = [
    "QUICK",
    "Answered",
    "RefusedError",
    "Requests",
    "RunningServer",
    "make_folder",
    "running_server",
    "said",
]
