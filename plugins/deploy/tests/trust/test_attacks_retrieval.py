"""Servers that send too much, too slowly, or nothing."""

import itertools
import threading
import time

import pytest
from trust_world import Device
from walle_deploy.errors import TrustError
from walle_deploy.trust import Limits


@pytest.mark.parametrize("path", ["timestamp.json", "2.root.json", "1.snapshot.json", "1.targets.json"])
def test_endless_data_as_metadata(fleet, device, path):
    sent = itertools.count(1)
    fleet.mirror.replaced[f"metadata/{path}"] = lambda: (b" " * 65_536 for _ in sent)
    with pytest.raises(TrustError, match="a file is not what the signed metadata says"):
        device.images.refresh()
    assert next(sent) < 20


def test_endless_data_as_a_target(fleet, device):
    fleet.release("shop/rank", 1, b"manifest")
    image = device.images.image("shop/rank", 1)
    path = f"targets/{image.target.get_prefixed_paths()[0]}"
    fleet.mirror.replaced[path] = lambda: (b"x" * 65_536 for _ in itertools.count())
    with pytest.raises(TrustError, match="is refused"):
        device.images.manifest(image)
    fleet.mirror.replaced[path] = b"manifesT"
    with pytest.raises(TrustError, match="is refused"):
        device.images.manifest(image)


def test_slow_retrieval(fleet):
    device = Device(fleet, limits=Limits(seconds=0.3))

    def drip():
        while True:
            time.sleep(0.02)
            yield b" "

    fleet.mirror.replaced["metadata/timestamp.json"] = drip
    begun = time.monotonic()
    with pytest.raises(TrustError, match="too slow"):
        device.images.refresh()
    assert time.monotonic() - begun < 2
    device.state.close()


def test_slow_retrieval_a_server_that_says_nothing(fleet):
    device, release = Device(fleet, limits=Limits(seconds=0.2)), threading.Event()

    def silent():
        release.wait(20)
        return iter(())

    fleet.mirror.replaced["metadata/2.root.json"] = silent
    with pytest.raises(TrustError, match="too slow"):
        device.images.refresh()
    release.set()
    device.state.close()
