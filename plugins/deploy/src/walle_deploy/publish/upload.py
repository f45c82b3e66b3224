"""Files to a server by their digests: what it has is not sent again, which is also how a broken upload goes on."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import attrs

from walle_deploy.client.api import DeployClient
from walle_deploy.manifest import Digest
from walle_deploy.publish.progress import Silent, Watcher

WORKERS = 4


@attrs.frozen
class Uploaded:
    """Files and bytes that were sent, and files that were there."""

    files: int = 0
    bytes: int = 0
    there: int = 0

    def __add__(self, other: Uploaded) -> Uploaded:
        return Uploaded(self.files + other.files, self.bytes + other.bytes, self.there + other.there)


NOTHING = Uploaded()


def upload(
    client: DeployClient,
    files: Mapping[Digest, bytes],
    device: str = "",
    watcher: Watcher = Silent(),  # noqa: B008 - it has no state
    workers: int = WORKERS,
) -> Uploaded:
    """Sends what the server lacks. Raises ServerError; what was sent by then stays there, and is not sent again.

    Args:
        client: of the server.
        files: digest -> content.
        device: whose exclusive files they are; "" for shared ones.
        watcher: is told the bytes.
        workers: files that go at a time.
    """
    with ThreadPoolExecutor(workers) as pool:
        asked = pool.map(lambda sha256: client.has_file(sha256, device), files)
        missing = [sha256 for sha256, there in zip(files, asked, strict=True) if not there]
        watcher.start(sum(len(files[sha256]) for sha256 in missing))
        jobs = [
            pool.submit(client.put_file, sha256, files[sha256], device, watcher.sent)
            for sha256 in sorted(missing, key=lambda sha256: len(files[sha256]))
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    sent = sum(len(files[sha256]) for sha256 in missing)
    return Uploaded(len(missing), sent, len(files) - len(missing))
