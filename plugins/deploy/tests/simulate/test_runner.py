"""Releases in their simulation stage get a verdict, those without data wait; and the picture."""

import hashlib
import os
import sys
import threading
from types import SimpleNamespace

import pytest
from simulate_world import recorded, task
from walle_deploy.manifest import File, Manifest
from walle_deploy.simulate import simulate
from walle_deploy.simulate.picture import draw
from walle_deploy.simulate.runner import Simulator, files_of, simulate_release
from walle_deploy.store.files import FileStore

from walle_core.errors import UnsupportedError

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)


class Platform:
    """Releases, in memory."""

    def __init__(self, store):
        self.store, self.manifests, self.known, self.verdicts = store, {}, {}, {}
        self.told = threading.Event()

    def add(self, release, number, files, previous=None, title="simulation", status="running"):
        listed = []
        for path, data in files.items():
            self.store.put(data)
            listed.append(File(path, hashlib.sha256(data).hexdigest(), len(data)))
        self.manifests["visits", number] = Manifest.of("visits", f"v{number}", listed).encode()
        standing = SimpleNamespace(title=title, status=status, previous=previous and f"v{previous}")
        self.known[release] = SimpleNamespace(id=release, task="visits", version=number, standing=standing)

    def manifest(self, name, number):
        return self.manifests[name, number]

    def releases(self):
        return list(self.known.values())

    def release(self, release):
        return self.known[release]

    def simulated(self, release, passed, why):
        self.verdicts[release] = (passed, why)
        self.known[release].standing.title = "beta"
        self.told.set()


@pytest.fixture
def platform(tmp_path):
    return Platform(FileStore.open(tmp_path / "store"))


def test_a_release_is_simulated_against_the_version_before(platform, log):
    files = files_of(platform, platform.store)
    platform.add(1, 1, task())
    found = simulate_release(platform, 1, [log], files)
    assert found.passed
    assert found.old is None
    assert platform.verdicts[1] == (True, found.why)
    platform.add(2, 2, task("assert clicks != 5"), previous=1)
    found = simulate_release(platform, 2, [log], files)
    assert found.old.runs == 120
    assert platform.verdicts[2] == (False, found.why)
    assert len(found.why) <= 500
    assert simulate_release(platform, 2, [log], files) is None  # its stage is over


def test_a_version_that_is_no_task_fails(platform, log):
    platform.add(1, 1, {"walle.toml": b"[task]\n"})
    found = simulate_release(platform, 1, [log], files_of(platform, platform.store))
    assert found.verdict == "failed"
    assert platform.verdicts[1][0] is False
    assert "it is no task" in platform.verdicts[1][1]


def test_no_data_is_no_verdict(platform, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    recorded(logs / "a.events", 10)
    platform.add(1, 1, task())
    told = []
    simulator = Simulator(
        platform, platform.store, [logs], tell=lambda release, made: told.append(made.verdict)
    )
    simulator.step()
    simulator.step()
    assert (told, platform.verdicts) == (["no data"], {})
    recorded(logs / "b.events", 100, seed=2)
    simulator.step()
    assert told == ["no data", "passed"]
    assert platform.verdicts[1][0] is True


def test_a_release_whose_files_are_away_does_not_keep_others_waiting(platform, log, caplog):
    platform.add(1, 1, task("pass  # other"))
    platform.add(2, 2, task())
    platform.store.delete(Manifest.decode(platform.manifest("visits", 1)).files[0].sha256)
    simulator = Simulator(platform, platform.store, [log])
    simulator.step()
    simulator.step()
    assert set(platform.verdicts) == {2}
    assert caplog.text.count("release 1 cannot be simulated") == 1


def test_it_works_in_a_thread_that_ends_in_the_middle_of_a_simulation(platform, folder):
    platform.add(1, 1, task())
    with Simulator(platform, platform.store, [folder], wait_s=0.01):
        assert platform.told.wait(30)
    platform.add(2, 2, task("import time; time.sleep(2)", time_ms=60_000))
    begun = threading.Event()
    simulator = Simulator(platform, platform.store, [folder], wait_s=0.01)
    look = simulator._look

    def looked(progress):
        begun.set()
        look(progress)

    simulator._look = looked  # before its thread takes it
    with simulator:
        assert begun.wait(60)
    assert set(platform.verdicts) == {1}


def test_a_real_platform_goes_on_after_a_passed_simulation_and_back_after_a_failed_one(log, tmp_path):
    pytest.importorskip("sqlalchemy")
    from core_world import World

    store = FileStore.open(tmp_path / "store")
    stages = {"stages": [{"kind": "simulation"}, {"kind": "full", "control": 0}], "watch": 0}
    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        platform = world.platform
        platform.add_task("visits", {"everyone": True}, "ada")
        for number, files in ((1, task()), (2, task("assert clicks != 5"))):
            listed = (File(path, store.put(data).sha256, len(data)) for path, data in files.items())
            world.version("visits", number, *sorted(listed, key=lambda file: file.path))
        first = platform.create_release("visits", 1, stages, "ada")
        simulator = Simulator(platform, store, [log])
        assert platform.release(first).standing.title == "simulation"
        simulator.step()
        assert platform.release(first).standing.title == "full"
        assert world.offered("d", task="visits") == 1
        world.report("d", 1, task="visits")
        assert platform.release(first).status == "finished"
        second = platform.create_release("visits", 2, stages, "ada")
        simulator.step()
        found = platform.release(second)
        assert found.status == "rolled back"
        assert "worse than the baseline" in found.standing.line
        assert platform.task("visits").stable == 1


def test_a_picture_shows_both_versions(log, tmp_path):
    pytest.importorskip("matplotlib")
    found = simulate(task("assert clicks != 5"), [log], baseline=task())
    draw(found, tmp_path / "a.png")
    draw(found, tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UnsupportedError):
        draw(found, tmp_path / "a.nothing")


def test_a_picture_without_runs_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    log = recorded(tmp_path / "a.events", 1)
    files = task()
    files["walle.toml"] = files["walle.toml"].replace(b'"item"', b'"cart"')
    draw(simulate(files, [log]), tmp_path / "a.png")


def test_a_picture_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnsupportedError, match="pip install matplotlib"):
        draw(None, tmp_path / "a.png")
