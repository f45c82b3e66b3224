"""A tunnel, devices that send samples of a task that is not confident, and the larger model that answers."""

import asyncio
import contextlib
import threading

import numpy as np
from cloud_models import PATTERNS
from hook_world import served
from walle_deploy.cloud.sample import Signature
from walle_deploy.task.config import parse
from walle_deploy.task.packing import pack, unpack
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.facade import Tunnel
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

from walle_core import Tensor

STREAM = "digits.cloud"
TOML = """
[task]
name = "digits"
[trigger]
manual = true
[inputs]
x = { dtype = "float32", shape = [64] }
hint = { dtype = "json" }
[outputs]
label = { dtype = "int64", shape = [] }
sure = { dtype = "float32", shape = [] }
[cloud]
stream = "digits.cloud"
send = ["x"]
confidence = "sure"
below = 0.8
"""
CONFIG = parse(TOML)
SIGNATURE = Signature.of(CONFIG)


def picture(digit, noise=0.3, seed=0):
    """64 points that are most like one of the patterns."""
    return (PATTERNS[digit] + noise * np.random.default_rng(seed).normal(size=64)).astype(np.float32)


def sample(digit, number=0, **changed):
    """A payload as the agent packs it."""
    whole = {
        "task": "digits",
        "version": "v3",
        "run": f"digits/{number}",
        "time": 1_780_000_000_000 + number,
        "inputs": {"x": Tensor.of(picture(digit, seed=number))},
        "outputs": {"label": 0, "sure": 0.4},
    }
    return pack(whole | changed)


def save_large(path):
    """Scores of ten patterns for [N, 64] points."""
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 10], PATTERNS.T.ravel().tolist())
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["points", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["scores"], axis=-1),
        ],
        "large",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def largest(answer):
    """The digit that a packed answer of the large model says."""
    return int(np.argmax(np.asarray(unpack(answer)["scores"])))


@contextlib.contextmanager
def tunnel_server(path, devices):
    """The URL of a tunnel whose sink is a SQLite file."""
    from walle_pipeline.tunnel.serve import websockets

    server = TunnelServer(SqliteSink(path), tokens(devices))
    with served(server, lifespan="on", ws=websockets()) as port:
        yield f"ws://127.0.0.1:{port}/tunnel"


@contextlib.contextmanager
def device(url, name, token, folder):
    """A device's end of the tunnel."""
    with Tunnel(url, device=name, token=token, outbox=folder / f"{name}.db") as tunnel:
        yield tunnel


@contextlib.contextmanager
def running(service):
    """Runs a service in a thread with an event loop of its own; gives that loop."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    error = []

    async def main():
        try:
            await service.start()
        except BaseException as failed:
            error.append(failed)
            raise
        finally:
            ready.set()

    def run():
        asyncio.set_event_loop(loop)
        with contextlib.suppress(BaseException):
            loop.run_until_complete(main())
            loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    if error:
        thread.join()
        loop.close()
        raise error[0]
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def fill(path, *items, device="d1", stream=STREAM, first=1):
    """Puts payloads into a SQLite sink as the tunnel's server does."""
    from walle_pipeline.tunnel.contract import Record

    async def main():
        sink = SqliteSink(path)
        await sink.open()
        await sink.write(
            [Record(device, stream, first + n, item, 1000.0 + n) for n, item in enumerate(items)]
        )
        await sink.close()

    asyncio.run(main())


def until(condition, seconds=15.0):
    """Waits until something holds."""
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
