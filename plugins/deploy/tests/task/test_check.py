"""The check finds what does not fit, all of it, and says where and what to do."""

import json
import os
import time
from pathlib import Path

import pytest
import zstandard
from walle_deploy.task.check import check
from walle_deploy.task.findings import ERROR, NOTE
from walle_deploy.task.starter import example

HEAD = '[task]\nname = "a"\n[trigger]\nmanual = true\n'
posix = pytest.mark.skipif(os.name != "posix", reason="limits need POSIX")


def task(script, config="", **files):
    return {"walle.toml": (HEAD + config).encode(), "main.py": script.encode(), **files}


def found(files, **options):
    return [str(f) for f in check(files, **options)]


def errors(files, **options):
    return [str(f) for f in check(files, **options) if f.level == ERROR]


def has(lines, *words):
    return any(all(word in line for word in words) for line in lines)


def edited(old, new, path="walle.toml"):
    files = example("ipv")
    assert old.encode() in files[path]
    return {**files, path: files[path].replace(old.encode(), new.encode())}


def test_the_example_passes():
    (note,) = check(example("ipv"), name="ipv")
    assert (note.level, note.where) == (NOTE, "main.py")
    assert "ran in" in note.what


def test_all_findings_at_once():
    files = task(
        "import os\nimport numpy as np\ndef main(y):\n    return eval('1')\n",
        '[inputs]\nx = {dtype="float32", shape=[1]}\n[model.m]\nfile="m.walle"\ninputs={}\noutputs={}\n'
        '[features]\na = "int"\n[dictionary]\nfile = "d"\n',
    )
    lines = errors({**files, "bad.py": b"def (:\n", "d": b"no dictionary", "lib.so": b"\x7fELF"}, name="b")
    for words in (
        ("walle.toml, task.name", "write 'b'"), ("main.py:1", "imports 'os'"), ("main.py:2", "'numpy'", "numpy = true"),
        ("main.py:3", "does not take the input 'x'", "def main(x, models):"), ("main.py:3", "wants 'y'"),
        ("main.py:4", "calls eval()"), ("bad.py:1", "no Python"), ("model.m.file", "no file 'm.walle'"),
        ("d: ", "no zstd dictionary"), ("lib.so", "program for Linux"),
    ):  # fmt: skip
        assert has(lines, *words), (words, lines)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("x = 1", ("defines no function 'main'", "write def main():")),
        ("async def main(): pass", ("is async",)),
        ("def main(*a): pass", ("called by names",)),
        ("def main(a, /): pass", ("called by names",)),
        ("class main: pass", ("defines no function",)),
        ("def main():\n  return ().__class__.__bases__", ("main.py:2", "__bases__")),
        ("import walle_core.ops, socket\ndef main(): pass", ("imports 'socket'", "modules")),
        ("from os.path import join\ndef main(): pass", ("imports 'os.path'",)),
        ("def main():\n\treturn 1\n        return 2", ("no Python",)),
        ("x = '\0'", ("main.py",)),
        ("(" * 5000, ("main.py",)),
    ],
)
def test_scripts_that_do_not_fit(script, words):
    lines = errors(task(script), run=False)
    assert has(lines, *words), lines


@pytest.mark.parametrize(
    "script",
    [
        "def main(**all): return {}",
        "def main(extra=1, *, more=2): return {}",
        "import helper\nfrom lib.deep import f\ndef main(): return {}",
    ],
)
def test_scripts_that_do_fit(script):
    assert not errors(task(script, **{"helper.py": b"", "lib/deep.py": b"f = 1"}))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('counts = { dtype = "float32", shape = [1, 3] }', 'counts = { dtype = "float32", shape = [1, 4] }',
         ("model.scorer.inputs.counts", "declared as float32[1, 4]", 'write { dtype = "float32", shape = [1, 3] }')),
        ('counts = { dtype = "float32"', 'counts = { dtype = "int64"', ("declared as int64[1, 3]",)),
        ('counts = { dtype = "float32", shape = [1, 3] }', 'counts = { dtype = "float32", shape = ["n", 3] }',
         ("declared as float32[n, 3]",)),
        ("inputs = { counts", "inputs = { count", ("inputs.count", "has no such input", "it has counts")),
        ('file = "scorer.walle"', 'file = "main.py"', ("main.py", "cannot be loaded")),
        ("shape = [1, 2] }\n\n[model", "shape = [2, 2] }\n\n[model", ("outputs.interest", "has the shape [1, 2]")),
        ('clicks = "int"', 'clicks = "text"', ("features.clicks", "wanted text")),
        ('seconds = "float"', 'second = "float"', ("features.second", "is missing")),
        ('seconds = "float"', 'second = "float"', ("features.seconds", "not declared")),
        ("interest = {", "other = {", ("outputs.other", "did not return it")),
        ('entry = "main"', 'entry = "run"', ("no function 'run'",)),
        ('entry = "main"', 'entry = "main"\nsample = "s.json"', ("task.sample", "no file")),
        ('page_visit = "item"', "steps = [{optional = true}]", ("trigger", "may not be optional")),
        ("memory_mb = 64", 'memory_mb = 64\nbackends = ["warp"]', ("warp", "made ready")),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(old, new, words):
    lines = errors(edited(old, new))
    assert has(lines, *words), lines


def test_symbolic_sizes_fit_by_any_name_used_alike():
    import tempfile

    import walle_core
    from walle_core.frontends.walle_file import save

    b = walle_core.Builder()
    x, y = b.input("x", "float32", ("n", 2)), b.input("y", "float32", ("m", 2))
    with tempfile.TemporaryDirectory() as folder:
        save(b.graph([b.Relu(x), b.Relu(y)]), Path(folder, "m.walle"))
        model = Path(folder, "m.walle").read_bytes()

    def lines(first, second):
        value = '{{ dtype = "float32", shape = ["{}", 2] }}'
        config = f'[model.m]\nfile = "m.walle"\ninputs = {{ x = {value.format(first)}, y = {value.format(second)} }}\noutputs = {{}}\n'
        return errors(task("def main(models): return {}", config, **{"m.walle": model}), run=False)

    assert not has(lines("rows", "columns"), "model.m.inputs")
    assert has(lines("rows", "rows"), "model.m.inputs.y")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def main():\n    return 1 / 0", ("main.py:2", "ZeroDivisionError", "while the entry ran")),
        ("x = [][0]\ndef main(): return {}", ("main.py:1", "IndexError", "imported")),
        ("def main(): return 3", ("returned int", "wanted a dict")),
        ("def main(): return {'x': 1}", ("outputs.x", "not declared")),
        ("def main(): return {'confident': 1}", ("'confident' is int",)),
        ("def main(): raise SystemExit(0)", ("SystemExit",)),
        ("import helper\ndef main(): return {}", ("helper.py:1", "NameError")),
    ],
)
def test_runs_that_fail(script, words):
    lines = errors(task(script, **{"helper.py": b"nope"}))
    assert has(lines, *words), lines


def test_a_run_that_hangs_is_ended():
    start = time.monotonic()
    files = task("def main():\n    while True: pass", "[resources]\ntime_ms = 1\n")
    lines = errors(files, start_s=-4)
    assert has(lines, "still running after 6 s"), lines
    assert time.monotonic() - start < 60


@posix
def test_a_run_that_takes_too_much_is_found():
    files = task(
        "def main():\n    return {'x': len(bytearray(200_000_000))}",
        '[outputs]\nx={dtype="json"}\n[resources]\nmemory_mb = 32\n',
    )
    assert has(errors(files), "MemoryError", "memory_mb") or not Path("/proc/self/status").exists()
    files = task(
        "import time\ndef main():\n    time.sleep(0.05)\n    return {}", "[resources]\ntime_ms = 5\n"
    )
    assert has(errors(files), "resources.time_ms", "5 are allowed")


@posix
def test_a_run_writes_no_files_and_what_it_prints_is_no_report():
    script = "import logging\ndef main():\n    print('{\"ms\": 0}')\n    with open('x', 'w') as f: f.write('a' * 100)\n    return {}"
    assert has(errors(task(script)), "may not change files")


def test_zeros_samples_and_symbolic_sizes():
    config = (
        '[inputs]\nx = {dtype="float32", shape=["n", 3]}\n[outputs]\ny = {dtype="float32", shape=["n"]}\n'
    )
    script = "from walle_core import Tensor\ndef main(x):\n    return {'y': [sum(r) for r in x.tolist()]}"
    assert not errors(task(script, config))
    wrong = "from walle_core import Tensor\ndef main(x):\n    return {'y': [0.0] * 7}"
    assert has(errors(task(wrong, config)), "has the shape [7]", "'n': 2")
    sampled = HEAD.replace("[trigger]", 'sample = "s.json"\n[trigger]') + config
    files = {"walle.toml": sampled.encode(), "main.py": script.encode()}
    assert not errors({**files, "s.json": json.dumps({"x": [[1, 2, 3]] * 4}).encode()})
    for text, words in ((b"[", "no JSON"), (b'{"z": 1}', "'z' is no input"), (b'{"x": [[1, 2]]}', "has the shape [1, 2]"),
                        (b'{"x": "a"}', "made ready")):  # fmt: skip
        assert has(errors({**files, "s.json": text}), words), errors({**files, "s.json": text})


def test_events_of_the_trigger_are_the_sample():
    config = (
        '[task]\nname = "a"\n[trigger]\nsteps = [{kind = "page_enter", page = "item"}, '
        '{kind = "cart", where = {widget = "buy", "contents.price" = {eq = 3}}}]\n[inputs]\ne = {dtype = "events"}\n'
    )
    script = (
        "def main(e):\n    assert [x['kind'] for x in e] == ['page_enter', 'cart']\n"
        "    assert e[1]['widget'] == 'buy' and e[1]['contents']['price'] == 3\n    return {}"
    )
    lines = check({"walle.toml": config.encode(), "main.py": script.encode()})
    assert not [f for f in lines if f.level == ERROR], lines
    assert has(map(str, lines), "must define the kind of event 'cart'")


def test_dictionaries(tmp_path):
    samples = [
        json.dumps({"page": f"item{n}", "clicks": n * 7, "text": "abc" * (n % 5)}).encode()
        for n in range(600)
    ]
    raw = zstandard.train_dictionary(4096, samples).as_bytes()
    config = '[features]\na = "int"\n[dictionary]\nfile = "d"\n'
    script = "def main(): return {'features': {'a': 1}}"
    assert not errors(task(script, config, d=raw))
    tunnel = pytest.importorskip("walle_pipeline.tunnel.dictionary")
    tunnel.train(samples, 4096).save(tmp_path / "d")
    data = (tmp_path / "d").read_bytes()
    assert not errors(task(script, config, d=data))
    assert has(errors(task(script, config, d=data[:-1] + bytes([data[-1] ^ 1]))), "checksum differs")
    assert has(errors(task(script, config)), "dictionary.file")
    assert has(errors(task(script, config, d=raw[:50])), "d: ")


@pytest.mark.parametrize(
    "files", [{}, {"main.py": b""}, {"walle.toml": b"\xff"}, {"walle.toml": b""}, {"../x": b"", **task("")}]
)
def test_wrong_files_are_findings_not_errors(files):
    assert errors(files)


def test_numpy_where_it_is_configured():
    pytest.importorskip("numpy")
    config = (
        HEAD.replace("[trigger]", "numpy = true\n[trigger]") + '[outputs]\ny = {dtype="float64", shape=[2]}\n'
    )
    script = b"import numpy as np\ndef main(): return {'y': np.zeros(2)}"
    assert not errors({"walle.toml": config.encode(), "main.py": script})


def test_a_script_may_print_but_sees_no_secrets(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "abc")
    script = (
        "import walle_core.session as s\ndef main():\n    print('a' * 100_000, flush=True)\n"
        "    assert 'SOME_TOKEN' not in s.os.environ\n    return {}\n"
    )
    assert not errors(task(script))


@posix
@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("os.fork()", "may not start or end processes"),
        ("os.posix_spawn('/bin/true', ['true'], {})", "may not start or end processes"),
        ("os.kill(os.getppid(), 15)", "may not start or end processes"),
        ("os.remove(__file__)", "may not change files"),
        ("os.open('new', os.O_CREAT)", "may not change files"),
    ],
)
def test_a_run_starts_no_process_and_changes_no_file(call, what):
    config = "\n[resources]\ntime_ms = 1000\n"
    files = task(f"import os\ndef main():\n    {call}\n    return {{}}", config)
    files["walle.toml"] = files["walle.toml"].replace(b'name = "a"\n', b'name = "a"\nmodules = ["os"]\n')
    assert has(errors(files), "main.py:3", what)
