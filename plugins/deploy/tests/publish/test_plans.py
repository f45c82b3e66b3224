"""The standard plans, and what `walle task plan` says of a plan."""

import json
import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.cli_task import command
from walle_deploy.release.events import Created
from walle_deploy.release.machine import step
from walle_deploy.release.plan import plan_from
from walle_deploy.release.standard import fast, standard, to_toml

from walle_core.errors import WalleError


@given(
    first=st.booleans(),
    devices=st.lists(st.text("abc", min_size=1), max_size=3),
    policy=st.none() | st.just("staff"),
    fleet=st.none() | st.integers(1, 10**9),
    simulation=st.booleans(),
)
@settings(deadline=None)
def test_every_standard_plan_works_and_survives_toml(first, devices, policy, fleet, simulation):
    values = standard(
        first=first, beta_devices=devices, beta_policy=policy, fleet=fleet, simulation=simulation
    )
    assert tomllib.loads(to_toml(values)) == values
    plan = plan_from(values)
    assert plan.stages[-1].kind == "full"
    state, _ = step(None, Created(at=0.0, version="v2", previous=None if first else "v1", plan=values))
    assert state.active


def test_half_of_the_fleet_waits_for_an_approval():
    for fleet in (None, 100, 1000, 5000, 10**6):
        plan = plan_from(standard(fleet=fleet))
        before_half = [s for s in plan.stages if s.kind != "full" and (s.percent or 0) < 50]
        assert any(gate["kind"] == "approval" for gate in before_half[-1].gates)


def test_a_stage_that_would_show_nothing_is_left_out():
    shares = {
        fleet: [s.percent for s in plan_from(standard(fleet=fleet)).stages if s.percent]
        for fleet in (50, 500, 5000)
    }
    assert shares == {50: [], 500: [10, 50], 5000: [1, 10, 50]}


def test_a_first_version_waits_for_no_control():
    for values in (standard(first=True, beta_policy="staff"), fast(first=True)):
        plan = plan_from(values)
        assert all(not s.control for s in plan.stages if s.kind != "simulation") and not plan.watch


def walle(*arguments, status=0):
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def test_the_command_prints_and_checks(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(walle("plan", "--beta", "staff"))
    said = walle("plan", str(file), "--fleet", "100000")
    assert "gray 10 %: 10.0000%, about 10000 devices" in said
    assert "beta: segment staff" in said and "1000 reports of each arm; 1 h; 1 approvals" in said
    found = json.loads(walle("plan", str(file), "--json"))
    assert found["ok"] and len(found["stages"]) == 6
    assert tomllib.loads(walle("plan", "--fast"))["watch"] == 3600
    assert json.loads(walle("plan", "--first", "--json"))["watch"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "no release plan"),
        ("", "stages"),
        ("[[stages]]\nkind = 'gray'\npercent = 5", "must end with a full stage"),
        ("[[stages]]\nkind = 'full'\nspeed = 3", "speed"),
        ("[[stages]]\nkind = 'gray'\npercent = 50\n[[stages]]\nkind = 'gray'\npercent = 5\n[[stages]]\nkind = 'full'", r"stages\[1\]"),
        ("[[stages]]\nkind = 'full'\n[[stages.gates]]\nkind = 'luck'", "no gate 'luck'; there are"),
        ("[[stages]]\nkind = 'full'\n[[stages.gates]]\nkind = 'time'\nseconds = 'ten'", "seconds"),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_named_with_its_place(tmp_path, text, words):
    import re

    file = tmp_path / "plan.toml"
    file.write_text(text)
    done = CliRunner().invoke(command, ["plan", str(file)])
    assert isinstance(done.exception, WalleError)
    assert str(file) in str(done.exception) and re.search(words, str(done.exception))
