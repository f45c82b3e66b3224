"""A version passes, or fails with a reason that can be run again."""

import os

import msgspec
import pytest
from simulate_world import GOOD, recorded, task
from walle_deploy.errors import TaskError
from walle_deploy.simulate import Limits, SimulationError, replay, simulate
from walle_deploy.simulate.verdict import judge
from walle_deploy.task.starter import example

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)


def only(simulation):
    (sort,) = simulation.new.sorts.values()
    return sort


def test_a_good_task_passes(log):
    found = simulate(task(), [log])
    assert (found.verdict, found.passed) == ("passed", True)
    assert found.new.runs == 120
    assert found.new.failed == 0
    assert "120 runs, 0 failed" in found.why
    assert 0 < found.new.times.quantile(0.5) <= found.new.times.quantile(0.99)
    assert found.new.memory_mb >= 0
    assert found.new.outputs["n"].moments.count == 120
    assert found.new.outputs["score"].moments.count == 240
    assert len(found.new.features) == 120
    assert (found.again.runs, found.again.differ) == (16, 0)
    assert found.old is None


def test_the_example_of_walle_task_init_passes(log):
    assert simulate(example("ipv"), [log]).passed


def test_a_task_that_raises_names_an_event_that_can_be_replayed(log):
    bad = task("assert clicks != 5, 'five clicks'")
    found = simulate(bad, [log])
    sort = only(found)
    assert found.verdict == "failed"
    assert (sort.kind, sort.what) == ("raised", "main.py:5: AssertionError")
    assert f"{sort.count} of 120 runs failed" in found.why
    assert "five clicks" in found.why
    assert sort.first.log == "monday.events"
    assert sort.first.again is True
    run = replay(bad, sort.first, [log])
    assert run.why == sort.first.why
    assert sum(event["kind"] == "click" for event in run.inputs["events"]) == 5
    assert not replay(task(), sort.first, [log]).failed


def test_a_task_that_hangs_is_given_up(log, impatient):
    found = simulate(task("while True: pass", time_ms=20), [log], limits=Limits(patience=1))
    sort = only(found)
    assert (found.verdict, sort.kind, sort.count) == ("failed", "time", 1)
    assert "given up" in found.why
    assert sort.first.again is True


def test_a_run_that_is_longer_than_allowed_has_failed(log):
    slow = task("import time; time.sleep(0.06 * (clicks == 5))", time_ms=30)
    found = simulate(slow, [log], limits=Limits(patience=1000))
    sort = only(found)
    assert sort.kind == "time"
    assert "30 are allowed" in sort.first.why


def test_a_task_that_takes_too_much_memory_fails(log):
    found = simulate(task("x = b'1' * (200 << 20) * (clicks == 5)", memory_mb=16), [log])
    assert only(found).kind == "memory"
    assert found.verdict == "failed"


def test_a_task_that_ends_its_process_fails(log):
    found = simulate(
        task("os._exit(3) if clicks == 5 else None", "import os"), [log], limits=Limits(patience=2)
    )
    sort = only(found)
    assert sort.kind == "died"
    assert "status 3" in sort.first.why


WRONG = """if clicks == 3: return {'n': n}
    if clicks == 4: return {'n': n, 'score': [1.0]}
    if clicks == 5: return {'n': n, 'score': [1.0, 2.0], 'features': {'clicks': 'many'}}
    if clicks == 6: return {'n': n, 'score': [1.0, 2.0], 'features': {}}
    if clicks == 7: return [n]
    if clicks == 8: raise KeyError(n)"""


def test_failures_are_told_apart_and_results_that_are_not_as_declared_are_not_taken(log):
    found = simulate(task(WRONG), [log], limits=Limits(failures=1.0))
    said = {(sort.kind, sort.first.why.split(";")[0]) for sort in found.new.sorts.values()}
    assert {(kind, why) for kind, why in said if kind != "raised"} == {
        ("outputs", "outputs.score: the entry did not return it"),
        ("outputs", "outputs.score: has the shape [1]"),
        ("outputs", ": the entry returned list"),
        ("features", "features.clicks: wanted int, but the entry returned str"),
        ("features", "features.clicks: is missing in what the entry returned"),
    }
    assert [sort.what for sort in found.new.sorts.values() if sort.kind == "raised"] == [
        "main.py:10: KeyError"
    ]
    assert found.verdict == "failed"
    assert "not as declared" in found.why


def test_a_task_that_does_not_start_fails_at_once(log):
    found = simulate(task(before="raise RuntimeError('no')"), [log])
    assert found.verdict == "failed"
    assert found.why.startswith("it does not start: main.py:1: RuntimeError: no")
    assert found.new.runs == 0


def test_a_task_whose_results_change_is_told(log):
    found = simulate(task("n = random.random()", "import random"), [log])
    assert found.passed
    assert found.again.differ == 16
    assert "16 of 16 runs gave another result" in str(found)
    verdict, why = judge(found.part, found.again, Limits(unstable=0.0), 2000)
    assert verdict == "failed"
    assert "another result when they were made again" in why


def test_a_failure_that_needs_earlier_runs_is_not_called_the_events_own(log):
    found = simulate(task("seen.append(n); assert len(seen) < 50", "seen = []"), [log])
    assert only(found).first.again is False
    assert "does not fail alone" in str(found)


def test_results_that_are_not_confident_are_counted(log):
    unsure = "return {'n': n, 'score': [0.0, 0.0], 'features': {'clicks': clicks}, 'confident': clicks > 5}"
    found = simulate(task(unsure), [log])
    assert found.passed
    assert 0 < found.new.unsure < 120
    verdict, why = judge(found.part, found.again, Limits(unsure=0.01), 2000)
    assert verdict == "failed"
    assert "not confident of" in why
    assert "too slow" in judge(found.part, found.again, Limits(p99_ms=1e-6), 2000)[1]


def test_a_declared_confidence_is_compared(log):
    config = '[cloud]\nstream = "large"\nconfidence = "n"\nbelow = 1.0\n'
    assert simulate(task("n = clicks / 1000", config=config), [log]).new.unsure == 120


def test_no_match_is_no_data(tmp_path):
    log = recorded(tmp_path / "few.events", 5)
    files = task()
    files["walle.toml"] = files["walle.toml"].replace(b'"item"', b'"cart"')
    found = simulate(files, [log])
    assert (found.verdict, found.passed) == ("no data", False)
    assert "0 runs, at least 100 are wanted" in found.why
    assert "events of 1 logs" in found.why


def test_too_few_runs_are_no_data_unless_they_say_enough(tmp_path):
    log = recorded(tmp_path / "few.events", 20)
    assert simulate(task(), [log]).verdict == "no data"
    assert simulate(task("clicks / 0"), [log]).verdict == "failed"


def test_a_task_that_no_event_starts_has_no_data(log):
    files = task()
    text = files["walle.toml"].replace(b'page_visit = "item"', b"manual = true")
    files["walle.toml"] = text.replace(b'events = { dtype = "events" }', b'x = { dtype = "json" }')
    found = simulate(files, [log])
    assert found.verdict == "no data"
    assert "only programs start this task" in found.why


def test_other_inputs_are_those_of_the_sample(log):
    config = 'x = { dtype = "float32", shape = [2] }\nsettings = { dtype = "json" }\n'
    files = task("assert settings == {'a': 1} and x.tolist() == [1.0, 2.0]")
    files["walle.toml"] = files["walle.toml"].replace(b"[outputs]", config.encode() + b"[outputs]")
    files["walle.toml"] = files["walle.toml"].replace(b"[task]", b'[task]\nsample = "sample.json"')
    files["main.py"] = files["main.py"].replace(b"(events)", b"(events, x, settings)", 1)
    files["sample.json"] = msgspec.json.encode({"x": [1.0, 2.0], "settings": {"a": 1}})
    assert simulate(files, [log]).passed
    with pytest.raises(TaskError, match="no JSON object"):
        simulate({**files, "sample.json": b"["}, [log])


def test_the_same_simulation_has_the_same_outcome(folder):
    bad = task("assert clicks != 5")

    def outcome(**options):
        found = simulate(bad, [folder], baseline=task("assert clicks != 6"), **options).to_json()
        found.pop("times")
        found["why"] = ""  # has times, too
        return found

    once = outcome(workers=1)
    assert once == outcome(workers=4)
    assert once["new"]["failures"][0]["first"]["log"].endswith("0.events")


def test_files_that_make_no_task_are_refused(log):
    with pytest.raises(TaskError, match=r"walle.toml is missing"):
        simulate({}, [log])
    with pytest.raises(TaskError, match="task"):
        simulate({"walle.toml": b"[task]\n"}, [log])
    with pytest.raises(SimulationError, match="no such file or folder"):
        simulate(task(), ["/nowhere"])
    with pytest.raises(SimulationError, match="module:attribute"):
        simulate(task(), [log], schema="no_such:SCHEMA")


def test_an_example_of_another_log_or_trigger_is_refused(log, folder):
    (example,) = simulate(task("assert clicks != 5"), [log]).examples
    with pytest.raises(SimulationError, match="no such log"):
        replay(task(), example, [folder])
    files = task()
    files["walle.toml"] = files["walle.toml"].replace(b'"item"', b'"cart"')
    with pytest.raises(SimulationError, match="another than in the simulation"):
        replay(files, example, [log])


def test_json_and_text_say_the_same(log):
    found = simulate(task("assert clicks != 5"), [log], baseline=task(GOOD))
    plain = found.to_json()
    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain
    assert plain["new"]["failed"] == found.new.failed
    text = str(found)
    for words in ("simulation of visits: failed", "failed only now", "raised", "time, p99", "features, p50"):
        assert words in text
    rows = {what: (new, old) for what, new, old in found.table()}
    assert rows["runs"] == ("120", "120")
