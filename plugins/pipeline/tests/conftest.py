"""Makes the helpers beside the tests importable: the importlib mode adds no folder of its own."""

import sys
from pathlib import Path

import pytest
from walle_pipeline import Pipeline

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def run():
    """Runs flows on events and returns the finished pipeline."""
    made = []

    def start(events, *flows, batch=1, **settings):
        pipeline = Pipeline(*flows, ahead_ms=None, **settings)
        made.append(pipeline)
        for first in range(0, len(events), batch):
            pipeline.feed(events[first : first + batch])
        pipeline.finish()
        return pipeline

    yield start
    for pipeline in made:
        pipeline.close()


@pytest.fixture
def killed(tmp_path):
    """Makes devices that are killed and started again."""
    from device_flows import Killed

    made = []

    def make(cloud, **settings):
        made.append(Killed(tmp_path / f"device-{len(made)}", cloud, **settings))
        return made[-1]

    yield make
    for one in made:
        if one.device is not None:
            one.device.close()
