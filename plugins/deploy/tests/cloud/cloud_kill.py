"""A service in a process of its own, to be killed: sink, database, file of the model's calls."""

import asyncio
import os
import sys
import time

from cloud_models import labels
from cloud_world import SIGNATURE, STREAM
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.store import CloudStore
from walle_deploy.cloud.work import CloudTask
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

calls = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def slow(inputs):
    """Notes each sample before it is answered."""
    os.write(calls, b"".join(b"%d\n" % one["n"] for one in inputs))
    time.sleep(0.004)
    return labels(inputs)


async def main():
    """Serves for ever."""
    tasks = [CloudTask("digits", STREAM, slow)]
    told = os.open(sys.argv[3] + ".told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with CloudService(
        SqliteSink(sys.argv[1]),
        tasks,
        CloudStore.open(f"sqlite:///{sys.argv[2]}"),
        batch=4,
        on_answer=lambda answer: os.write(told, b"%d\n" % answer.number),
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    assert SIGNATURE
    asyncio.run(main())
