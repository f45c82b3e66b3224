"""Push-then-pull on requests that an application makes anyway: hooks for its client, middleware for its server.

On a device::

    from walle_deploy.hooks import Piggyback, on_httpx

    piggyback = Piggyback(agent.profile, agent.take, token=agent.token, origins=["https://api.shop.example"])
    on_httpx.attach(client, piggyback)  # on_requests and on_urllib3 likewise

On the business server::

    from walle_deploy.hooks.middleware import WalleMiddleware
    from walle_deploy.hooks.remote import RemoteCheck

    app = WalleMiddleware(app, RemoteCheck("https://deploy.shop.example"))
"""

from walle_deploy.hooks.piggyback import Piggyback

__all__ = ["Piggyback"]
