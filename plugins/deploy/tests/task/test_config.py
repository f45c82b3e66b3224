"""walle.toml: what it may say, and that every mistake is found at its place."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.errors import TaskError
from walle_deploy.task.config import MAX_BYTES, TaskConfig, find_problems, parse, plain
from walle_deploy.task.toml import dumps
from walle_deploy.task.values import milliseconds

HEAD = '[task]\nname = "ipv"\n[trigger]\nmanual = true\n'


def found(text: str) -> list[str]:
    return [str(problem) for problem in find_problems(text)[1]]


def test_the_smallest_task_has_defaults():
    config = parse(HEAD)
    assert (config.task.script, config.task.entry) == ("main.py", "main")
    assert config.resources.time_ms == 1000
    assert plain(config) == {"task": {"name": "ipv"}, "trigger": {"manual": True}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task: is missing"),
        ("[task]\n[trigger]\nmanual=true", "task.name: is missing"),
        ('[task]\nname = "Q!"\n[trigger]\nmanual=true', "task.name: found 'Q!'; wanted"),
        (HEAD.replace("name", "nam"), "task.nam: is not known here; known are name, description"),
        (HEAD + "[resources]\ntime_ms = 0", "resources.time_ms: found 0; wanted `int` >= 1"),
        (HEAD + '[resources]\ntime_ms = "1"', "resources.time_ms: found '1'; wanted `int`"),
        (HEAD + '[inputs]\nx = {dtype="float3", shape=[1]}', "inputs.x: found a table; wanted one of float32"),
        (HEAD + '[inputs]\nx = {dtype="float32", shape=[1, -2]}', "inputs.x.shape[1]: found -2"),
        (HEAD + '[inputs]\nx = {dtype="float32"}', "inputs.x: found a table; a tensor needs a shape"),
        (HEAD + '[inputs]\n1a = {dtype="json"}', "inputs.1a: the name '1a'; wanted"),
        (HEAD + '[inputs]\nmodels = {dtype="json"}', "inputs.models: the name is taken"),
        (HEAD + '[inputs]\nx = {dtype="events"}', "trigger.manual: an input holds the events"),
        (HEAD + '[outputs]\nfeatures = {dtype="json"}', "outputs.features: the name is taken"),
        (HEAD + '[outputs]\nx = {dtype="events"}', "outputs.x: a task makes no events"),
        (HEAD + '[features]\na = "strin"', "features.a: found 'strin'; wanted one of int"),
        (HEAD + '[dictionary]\nfile = "d"', "dictionary: there are no [features]"),
        (HEAD + '[dictionary]\nfile = "../d"', "dictionary: found a table; wanted the path of a file"),
        (HEAD + '[cloud]\nstream = "s"\nsend = ["y"]', "cloud.send[0]: found 'y'"),
        (HEAD + '[cloud]\nstream = "s"\nconfidence = "y"', "cloud.confidence: found 'y'"),
        (
            HEAD + '[outputs]\ny = {dtype="float32", shape=[2]}\n[cloud]\nstream = "s"\nconfidence = "y"',
            "cloud.confidence: found float32[2]; wanted one number",
        ),
        (HEAD + '[cloud]\nstream = "s"\nbelow = 0', "cloud.below: found 0"),
        (HEAD + '[model.m]\nfile = "/m"\ninputs = {}\noutputs = {}', "model.m: found a table; wanted the path"),
        ('[task]\nname = "a"\nscript = "a.txt"\n[trigger]\nmanual=true', "task: found a table; the script must be a .py"),
        ('[task]\nname = "a"\n[trigger]\n', "trigger: found a table; wanted exactly one of steps"),
        ('[task]\nname = "a"\n[trigger]\nmanual=true\npage_visit="a"', "trigger: found a table; wanted exactly one"),
        ('[task]\nname = "a"\n[trigger]\nsteps=[{join="nxt"}]', "join: found 'nxt'; wanted one of next, followed_by"),
        ('[task]\nname = "a"\n[trigger]\nsteps=[{join="next"}]', "the first step follows nothing"),
        ('[task]\nname = "a"\n[trigger]\nsteps=[{where={a={}}}]', "trigger.steps[0].where.a: found a table; wanted a comp"),
        ('[task]\nname = "a"\n[trigger]\nsteps=[{where={a={gt=nan}}}]', "nothing compares with nan"),
        ('[task]\nname = "a"\n[trigger]\npage_visit="a"\nwithin="5 weeks"', "not '5 weeks'"),
        ('[task]\nname = "a"\n[trigger]\npage_visit="a"\nwithin=-1', "must be positive"),
        ("[task\n", "no TOML"),
        ("a = " + "[" * 5000, "no TOML"),
        ("#" * (MAX_BYTES + 1), "at most"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_path(text, message):
    assert any(message in line for line in found(text)), found(text)


def test_all_mistakes_are_found_at_once():
    text = HEAD + '[resources]\ntime_ms = 0\nmemory = 1\n[inputs]\nx = {dtype="f"}\n[cloud]\n'
    assert {line.split(":")[0] for line in found(text)} == {
        "resources.time_ms", "resources.memory", "inputs.x", "cloud.stream",
    }  # fmt: skip
    with pytest.raises(TaskError, match=r"shop/walle.toml: resources.time_ms"):
        parse(text, "shop/walle.toml")


def test_no_utf8_is_an_error_of_the_file():
    assert "no TOML" in str(find_problems(b"\xff")[1][0])


def test_times():
    assert [milliseconds(t) for t in (10, "10s", "500ms", "1.5m", "2h", "unbounded")] == [
        10_000, 10_000, 500, 90_000, 7_200_000, None,
    ]  # fmt: skip


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
dims = st.one_of(st.integers(0, 9), names)
texts = st.text(max_size=12)
tensors = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["float32", "int64", "bool"]), "shape": st.lists(dims, max_size=4)}
)
values = st.one_of(tensors, st.just({"dtype": "json"}))
configs = st.fixed_dictionaries(
    {
        "task": st.fixed_dictionaries({"name": st.just("a-b_1")}, optional={"description": texts, "numpy": st.booleans()}),
        "trigger": st.sampled_from([{"manual": True}, {"page_visit": "it*m", "within": 2.5}]),
    },
    optional={
        "inputs": st.dictionaries(names.filter(lambda n: n != "models"), values, max_size=3),
        "outputs": st.dictionaries(names.filter(lambda n: n not in ("features", "confident")), values, max_size=3),
        "model": st.dictionaries(
            names,
            st.fixed_dictionaries(
                {"file": st.just("m.walle"), "inputs": st.dictionaries(texts, tensors, max_size=2),
                 "outputs": st.dictionaries(texts, tensors, max_size=2)}
            ),
            max_size=2,
        ),
        "features": st.dictionaries(names, st.sampled_from(["int", "text"]), max_size=3),
        "resources": st.fixed_dictionaries({}, optional={"time_ms": st.integers(1, 99), "backends": st.lists(names, max_size=2)}),
        "cloud": st.fixed_dictionaries({"stream": st.just("hard")}, optional={"below": st.floats(0.01, 1)}),
    },
)  # fmt: skip


@given(configs)
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_the_same(values):
    config = parse(dumps(values))
    assert isinstance(config, TaskConfig)
    assert parse(dumps(plain(config))) == config


plains = st.recursive(
    st.one_of(st.booleans(), st.integers(-(1 << 62), 1 << 62), st.floats(allow_nan=False), st.text(
        st.characters(exclude_categories=["Cs"]), max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(texts, plains, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_plain_value_survives_toml(values):
    import tomllib

    assert tomllib.loads(dumps(values)) == values


def test_toml_refuses_what_it_has_no_form_for():
    with pytest.raises(TypeError):
        dumps({"a": None})
    assert "inf" in dumps({"a": math.inf})


anything = st.recursive(
    st.one_of(st.booleans(), st.integers(-(1 << 62), 1 << 62), st.floats(), texts, st.sampled_from(["float32", "events", "a.py"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "dtype", "shape", "steps", "where", "kind", "repeat", "least", "file", "x"]), inner, max_size=4),
    ),
    max_leaves=15,
)  # fmt: skip
sections = st.sampled_from([*TaskConfig.__struct_fields__, "other"])


@given(st.dictionaries(sections, anything, max_size=6))
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_there_is_a_configuration_or_problems_with_paths(values):
    config, problems = find_problems(dumps(values))
    assert config is not None or problems
    for problem in problems:
        assert "\n" not in str(problem)


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_configuration_or_problems(data):
    config, problems = find_problems(data)
    assert config is not None or problems
