"""What docs/release-plans.md shows works."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from walle_deploy.cli_task import command
from walle_deploy.policies.compiling import compile_policy
from walle_deploy.release.plan import plan_from
from walle_deploy.release.standard import standard, to_toml

PAGE = (Path(__file__).parents[4] / "docs" / "release-plans.md").read_text("utf-8")
TOML = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLANS = [text for text in TOML if "[[stages]]" in text]


def test_the_plan_works(tmp_path):
    assert len(PLANS) == 1
    plan = plan_from(tomllib.loads(PLANS[0]))
    assert [stage.kind for stage in plan.stages] == ["simulation", "beta", "gray", "gray", "full"]
    (tmp_path / "plan.toml").write_text(PLANS[0])
    done = CliRunner().invoke(command, ["plan", str(tmp_path / "plan.toml")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("text", [text for text in TOML if text not in PLANS])
def test_policies_compile(text):
    compile_policy(tomllib.loads(text), {"staff": {"devices": ["a"]}})


def test_every_kind_of_stage_and_gate_is_there():
    from walle_deploy.release.gates import default_gates
    from walle_deploy.release.plan import ORDER

    for name in (*ORDER, *default_gates().kinds):
        assert f"| `{name}` |" in PAGE


def test_the_standard_plan_is_as_it_is_told():
    titles = [stage.title for stage in plan_from(standard(beta_policy="staff")).stages]
    assert titles == ["simulation", "beta", "gray 1 %", "gray 10 %", "gray 50 %", "full"]
    assert "[[stages.gates]]" in to_toml(standard())


def test_every_command_and_option_is_there():
    for name, options in re.findall(r"walle task ([a-z]+)((?: --[a-z-]+)*)", PAGE):
        done = CliRunner().invoke(command, [name, "--help"])
        assert done.exit_code == 0, name
        for option in options.split():
            assert option in done.output
