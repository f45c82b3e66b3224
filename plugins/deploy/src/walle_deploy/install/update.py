"""The whole way of a new version on a device: room, files, installation, switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from walle_core.registry import Registry
from walle_deploy.deltas.contract import Codec
from walle_deploy.install.fetch import Fetcher, Patience, Source
from walle_deploy.install.slots import Slots
from walle_deploy.install.transport import Transport, UrlTransport
from walle_deploy.install.versions import Version
from walle_deploy.manifest import Digest, Manifest


def update(
    slots: Slots,
    manifest: Manifest,
    sources: Mapping[Digest, Source],
    transport: Transport | None = None,
    registry: Registry[Codec] | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
    check: Callable[[Version], Any] = lambda version: None,
    sleep: Callable[[float], Any] = time.sleep,
) -> Version:
    """Makes `manifest`, which the caller has verified, the current version of its task.

    `sources` are by the digest of the file; files that are on the device need none. `check` sees the version before it is
    current; what it raises comes out. `sleep` waits between tries. Raises StoreError: the version that was current still
    is, and what was fetched is kept for the next try.
    """
    slots.reserve(manifest)
    fetcher = Fetcher(
        transport or UrlTransport(),
        slots.downloads,
        slots.have,
        registry,
        patience,
        disk=slots.disk,
        sleep=sleep,
    )
    for file in {file.sha256: file for file in manifest.files}.values():
        fetcher.fetch(file, sources.get(file.sha256) or Source(""))
    version = slots.install(manifest)
    check(version)
    slots.activate(manifest.task, version.digest)
    return version
