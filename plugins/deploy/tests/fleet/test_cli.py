"""``walle fleet simulate``."""

import json

import pytest
from click.testing import CliRunner
from walle_deploy.cli_fleet import command
from walle_deploy.fleet.plans import quick, reporting
from walle_deploy.release.plan import plan_from

from walle_core.plugins import load_plugins


def run(*arguments):
    return CliRunner().invoke(command, ["simulate", *map(str, arguments)], catch_exceptions=False)


def test_the_command_is_registered():
    assert load_plugins().commands.get("fleet").target == "walle_deploy.cli_fleet:command"


def test_a_simulation_is_told_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "coverage.png"
    done = run("--devices", 400, "--until", 0.5, "--plot", picture)
    assert done.exit_code == 0, done.output
    assert "full" in done.output
    assert "rules" in done.output
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size > 20_000


def test_json_of_a_bad_release():
    done = run("--devices", 800, "--bad-share", 0.7, "--json", "--verify")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["status"] == "rolled back"
    assert found["coverage"] <= 0.01 <= found["peak"] + 0.005
    assert found["verified"] == found["tally"]["answers"] > 0
    assert found["curve"][-1]["status"] == "rolled back"
    assert len(found["curve"]) <= 401


def test_time_that_is_over_is_no_success(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text('[[stages]]\nkind = "gray"\npercent = 1.0\n[[stages]]\nkind = "full"\n')
    done = run("--devices", 100, "--hours", 0.1, "--plan", plan)
    assert done.exit_code == 1
    assert "gray 1 %" in done.output


def test_failures_on_some_devices_only():
    where = '{"device": {"os": "ios"}}'
    done = run("--devices", 800, "--bad-share", 1, "--bad-where", where, "--json", "--hours", 3)
    assert json.loads(done.output)["status"] == "rolled back"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--bad-where", "{"], "no JSON"),
        (["--bad-where", '{"device": {"os": {"like": 1}}}'], "failing.where"),
        (["--task", "x"], "--task is for a server"),
        (["--server", "http://127.0.0.1:9"], "needs --task"),
        (["--devices", "0"], "--devices"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments, why):
    from walle_core.errors import WalleError

    try:
        done = run("--devices", 10, *arguments)
    except WalleError as error:
        assert why in str(error)
    else:
        assert done.exit_code == 2
        assert why in done.output


@pytest.mark.parametrize("size", [1, 10, 200, 5000, 100_000, 20_000_000])
def test_the_plan_suits_every_size(size):
    share = reporting(size)
    plan = plan_from(quick(size, share))
    assert plan.stages[-1].kind == "full"
    for stage in plan.stages[1:-1]:
        arm = size * share * stage.percent / 100 * min(stage.control, 1 - stage.control)
        assert all(gate.get("reports", 0) * 2 <= arm for gate in stage.gates)


def test_a_release_at_a_server(server, task):
    arguments = [
        "--server",
        server.url,
        "--token",
        server.tokens["operator"],
        "--task",
        task,
        "--speed",
        3600,
    ]
    story = run(*arguments, "--enrol", server.enrol, "--version", 2, "--devices", 150, "--until", 0.3, "--json",
                "--hours", 20)  # fmt: skip
    found = json.loads(story.output)
    assert story.exit_code == 0, found["line"]
    assert found["coverage"] > 0.2
    again = run(*arguments, "--server-folder", server.folder, "--devices", 20, "--hours", 1, "--until", 0.1)
    assert again.exit_code in {0, 1}
    assert "checks by digest" in again.output
