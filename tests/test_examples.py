"""Each example, as its one command runs it; livestream and demo have files of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MODELS = Path(os.environ.get("WALLE_MODELS", Path(__file__).parents[2] / "shared" / "models"))


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What the example did."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "WALLE_MODELS": str(MODELS)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def test_classify_tells_a_cat() -> None:
    pytest.importorskip("PIL")
    if not (MODELS / "real" / "samples").is_dir():
        pytest.skip(f"no models in {MODELS}; set WALLE_MODELS")
    done = run("classify.py")
    assert done.returncode == 0, done.stderr
    best = re.findall(r"class +(\d+) +([\d.]+)%", done.stdout)
    assert 281 <= int(best[0][0]) <= 285  # ImageNet's cats
    assert [float(share) for _, share in best] == sorted((float(share) for _, share in best), reverse=True)


def test_classify_says_what_it_lacks(tmp_path: Path) -> None:
    done = run("classify.py", tmp_path / "none.jpg")
    assert done.returncode == 2
    assert "none.jpg" in done.stderr


def test_rank_measures_every_backend_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("rank.py", "--threads", 1, "--plot", tmp_path / "ranking.png")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^(?:portable|reference) +[\d.]+ ms +[\d.]+ ms", done.stdout, re.MULTILINE)) == 2
    assert re.search(r"puts \d+ of \d+ pairs", done.stdout)
    assert (tmp_path / "ranking.png").stat().st_size > 1000


def test_backend_plugin_is_found_and_runs() -> None:
    done = run("backend/backend.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"run by the plugin: \d+ Add, \d+ MatMul, \d+ Relu", done.stdout)


def test_ipv_recommends_what_the_user_likes() -> None:
    pytest.importorskip("walle_pipeline")
    done = run("ipv/ipv.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.search(r"foretells ([\d.]+)%", done.stdout)[1]) > 80
    assert "32 visits, 16 of them lasted" in done.stdout


def test_fleet_keeps_the_good_version_and_takes_the_bad_one_back(tmp_path: Path) -> None:
    pytest.importorskip("walle_deploy.server.platform")
    pytest.importorskip("matplotlib")
    done = run("fleet.py", "--devices", 1000 if os.environ.get("WALLE_FULL") else 500, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bad version" in done.stdout
    assert "rolled back" in done.stdout
    assert all((tmp_path / f"{name}.png").stat().st_size > 1000 for name in ("good", "bad"))


def test_the_list_names_all_examples() -> None:
    named = set(re.findall(r"python (examples/[\w/]+\.py)", (EXAMPLES / "README.md").read_text()))
    assert all((EXAMPLES.parent / name).is_file() for name in named)
    there = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {Path(name).parts[1].removesuffix(".py") for name in named} >= there
