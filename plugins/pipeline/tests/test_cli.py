"""``walle pipeline`` as a user calls it, wrong input included."""

import json
import subprocess
import sys
import tracemalloc

import pytest
from walle_pipeline import Click, Event, PageEnter, Schema
from walle_pipeline.log import EventLog

from walle_core.cli import main

FLOW = """
from walle_pipeline import Flow, click, page_enter
found = []
flow = Flow("carts")
flow.on(page_enter("item").followed_by(click("item"))).map(lambda m: 1 // len(m.last.widget)).to(found)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(FLOW)
    with EventLog("phone.log") as log:
        log.append(
            [
                PageEnter("item", 1000, "ann", 1),
                Click("item", 1500, "ann", 2),
                PageEnter("item", 1600, "bob", 3),
            ]
        )
    lines = [
        '{"kind":"page_enter","page":"item","time":5,"key":"u"}',
        "garbage",
        '{"kind":"click","page":"item","time":6,"key":"u","widget":"w"}',
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    return tmp_path


def walle(capsys, *arguments):
    code = main(["pipeline", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_run(folder, capsys):
    code, out, err = walle(capsys, "run", "flow.py", "--events", "phone.log", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["received"], found["matches"], found["errors"]) == (3, 1, 1)
    assert "carts, map" in err
    assert "ZeroDivisionError" in err
    code, out, err = walle(capsys, "run", "flow.py", "--events", "events.jsonl", "--json")
    assert json.loads(out)["matches"] == 1
    assert "line 2 set aside" in err


def test_replay_keeps_the_pace(folder, capsys):
    code, out, _ = walle(capsys, "replay", "flow.py", "--events", "phone.log", "--speed", "2", "--json")
    assert code == 0
    assert 0.29 < json.loads(out)["seconds"] < 5


def test_explain(folder, capsys):
    _, out, _ = walle(capsys, "explain", "flow.py", "--events", "phone.log", "--json")
    assert [(row["key"], row["outcome"]) for row in json.loads(out)] == [("ann", "fired"), ("bob", "waiting")]
    _, out, _ = walle(capsys, "explain", "flow.py", "--events", "phone.log", "--key", "bob")
    assert "waits for step 2, click(item)" in out


def test_graph_and_show(folder, capsys):
    _, out, _ = walle(capsys, "graph", "flow.py")
    assert "on page_enter(item) … click(item)" in out
    assert walle(capsys, "graph", "flow.py", "--png", "flow.png")[0] == 0
    assert (folder / "flow.png").read_bytes()[:4] == b"\x89PNG"
    _, out, _ = walle(capsys, "show", "phone.log")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [1, 2, 3]


class Bought(Event, frozen=True, tag="bought"):
    """A kind that the command does not know."""

    item: str = ""
    price: float = 0.0


class OtherClick(Event, frozen=True, tag="click"):
    """A kind of a known name, with other fields."""

    x: int = 0


def test_show_prints_kinds_that_it_does_not_know(folder, capsys):
    for kind in (Bought, OtherClick):
        with EventLog(f"{kind.__name__}.log", Schema(kind, PageEnter)) as log:
            log.append(
                [PageEnter("item", 1, "ann", 1), kind("item", 2, "ann", 2, 0, {"n": 3}, 7), kind("item", 3)]
            )
        code, out, err = walle(capsys, "show", f"{kind.__name__}.log")
        found = [json.loads(line) for line in out.splitlines()]
        assert (code, err) == (0, "")
        assert [e["kind"] for e in found] == [
            "page_enter",
            str(kind.__struct_config__.tag),
            str(kind.__struct_config__.tag),
        ]
        assert found[1]["contents"] == {"n": 3}
        assert 7 in found[1].get("fields", found[1].values())


def test_long_lines_are_set_aside_in_bounded_memory(folder, capsys):
    good = b'{"kind":"click","page":"item","time":6,"key":"u","widget":"w"}\r\n'
    with open("long.jsonl", "wb") as file:
        file.write(good)
        file.writelines(b'"' + b"x" * (1 << 20) for _ in range(64))
        file.write(b"\n" + good + b"y" * 70_000)
    tracemalloc.start()
    code, out, err = walle(capsys, "run", "flow.py", "--events", "long.jsonl", "--json")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert code == 0
    assert json.loads(out)["received"] == 2
    assert "line 2 set aside: a line of 67108929 bytes; at most 65536 are allowed" in err
    assert "line 4 set aside" in err
    assert peak < 16 << 20


def test_dict_train(folder, capsys):
    for n in range(60):
        (folder / f"s{n}").write_text(
            json.dumps({"user": f"user {n}", "kind": "page view", "n": list(range(n % 9))}) * 3
        )
    code, out, _ = walle(
        capsys, "dict", "train", *[f"s{n}" for n in range(60)], "--out", "d.dict", "--size", "1024"
    )
    assert code == 0
    assert "with it" in out
    assert (folder / "d.dict").exists()


def test_demo(folder, capsys):
    code, out, _ = walle(capsys, "demo", "--visits", "40", "--out", "demo", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["triggers"] == found["features"] == 40
    assert found["feature_bytes_as_json"] <= 1300
    assert (folder / "demo/flow.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.py", "--events", "phone.log"], "does not exist"),
        (["run", "raises.py", "--events", "phone.log"], "raises.py: ModuleNotFoundError"),
        (["run", "empty.py", "--events", "phone.log"], "defines no Flow"),
        (["run", "unknown.py", "--events", "phone.log"], "no kind of event 'nothing'"),
        (["run", "flow.py", "--events", "phone.log", "--lateness-ms", "-1"], "not in the range"),
        (["explain", "flow.py", "--events", "phone.log", "--task", "x"], "no flow 'x'"),
        (["graph", "flow.py", "--png", "x.xyz"], "xyz"),
        (["dict", "train", "--out", "d"], "nothing to train on"),
        (["tunnel", "serve", "--tokens", "flow.py"], "expected `device token`"),
        (["tunnel", "serve", "--tokens", "flow.py", "--host", "0.0.0.0"], "in the clear"),
        (["tunnel", "serve", "--tokens", "tokens", "--sink", "redis://x"], "no sink for redis"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, capsys, arguments, said):
    (folder / "raises.py").write_text("import nothing_here")
    (folder / "empty.py").write_text("x = 1")
    (folder / "tokens").write_text("phone secret\n")
    (folder / "unknown.py").write_text(
        "from walle_pipeline import Flow\nf = Flow('f')\nf.events('nothing').to([])"
    )
    code, _, err = walle(capsys, *arguments)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", bytes(range(256)) * 30])
def test_logs_without_events(folder, capsys, content):
    (folder / "odd").write_bytes(content)
    code, out, err = walle(capsys, "run", "flow.py", "--events", "odd", "--json")
    assert code == 0
    assert json.loads(out)["received"] == 0
    assert len(err.splitlines()) <= 11


def test_importing_the_plugin_is_cheap():
    code = "import sys, walle_pipeline; bad = {'msgspec', 'websockets', 'numpy', 'sqlite3', 'asyncio'} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)
