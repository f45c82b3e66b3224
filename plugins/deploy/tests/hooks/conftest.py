"""Makes the servers of these tests importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def shop():
    """A business server behind the middleware."""
    from hook_world import Deployment, Shop
    from walle_deploy.hooks.middleware import WalleMiddleware

    shop = Shop(Deployment())
    with shop.served(WalleMiddleware(shop, shop.deployment, deadline=1.0)):
        yield shop


@pytest.fixture(scope="module")
def stranger():
    """Another server, which nobody named."""
    from hook_world import Shop

    other = Shop()
    with other.served(other):
        yield other


@pytest.fixture(autouse=True)
def _anew(request):
    for name in ("shop", "stranger"):
        if name in request.fixturenames:
            request.getfixturevalue(name).reset()
