"""From a signed tag of a scenario to a version on a server: verified, uploaded by digest, its image signed here."""

from walle_deploy.publish.publishing import Published, publish
from walle_deploy.publish.version import Built, build

__all__ = ["Built", "Published", "build", "publish"]
