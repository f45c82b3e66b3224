"""What a cloud's service has counted, for others than itself: the deployment server's dashboard."""

from __future__ import annotations

import time
from pathlib import Path

from walle_deploy.cloud.config import price_of, read, store_of
from walle_deploy.cloud.costs import Cost, costs
from walle_deploy.cloud.store import DAY_S


class Shown:
    """The costs that the file of `walle cloud serve` leads to. Raises CloudError if it cannot be used.

    Args:
        file: of the service; its database is opened, and made if it is not there yet.
    """

    def __init__(self, file: Path) -> None:
        text = read(file)
        self._price, self._store = price_of(text.price), store_of(text, file.parent)

    def costs(self, days: int | None = None) -> list[Cost]:
        """By task and version, of the last days, today included; None: of all. Raises DeployError."""
        first = 0 if days is None else int(time.time() // DAY_S) - days + 1
        return costs(self._store.counted(first), self._price)

    def close(self) -> None:
        """Closes the database."""
        self._store.close()
