"""Automatic rollback in numbers: how soon, how often by mistake, at what cost; prints tables, writes docs/benchmarks.md.

python benchmarks/deploy_release.py [--runs 2000] [--reports 20000] [--markdown docs/benchmarks.md]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from datetime import date
from pathlib import Path

import numpy as np
from report import machine, write_section
from walle_deploy.release.events import Admit, Approve, Created, Report, Simulated
from walle_deploy.release.explain import explain
from walle_deploy.release.machine import step
from walle_deploy.release.means import BETS
from walle_deploy.release.power import simulate
from walle_deploy.release.sequential import BLOCK
from walle_deploy.release.state import decode, encode

ALPHA = 0.007  # of a plan that does not say
METRIC_ALPHA = 0.003
POWER = [(0.2, 0.01), (0.05, 0.0), (0.05, 0.01), (0.03, 0.01), (0.02, 0.01), (0.015, 0.01), (0.005, 0.001), (0.002, 0.001),
         (0.2, 0.1), (0.15, 0.1)]  # fmt: skip
SHARES = [(None, "in turn"), (0.5, "50:50"), (0.9, "90:10"), (0.1, "10:90")]


def percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def count(value: float) -> str:
    return "more" if math.isinf(value) else f"{value:,.0f}"


def power(options: argparse.Namespace) -> list[str]:
    lines = ["| fails | control | arms | stopped | median | 90 % by |", "|--:|--:|---|--:|--:|--:|"]
    for treatment, control in POWER:
        for share, name in SHARES if (treatment, control) in {(0.05, 0.01), (0.02, 0.01)} else SHARES[:1]:
            stops = simulate(
                treatment, control, runs=min(options.runs, 1000), reports=options.reports, share=share, seed=1
            )
            cells = percent(treatment), percent(control), name, percent(stops.share)
            lines.append(
                f"| {' | '.join(cells)} | {count(stops.quantile(0.5))} | {count(stops.quantile(0.9))} |"
            )
            print(lines[-1], flush=True)
    return lines


def healthy(options: argparse.Namespace) -> list[str]:
    lines = ["| fails, both arms | arms | rolled back |", "|--:|---|--:|"]
    for rate in (0.001, 0.01, 0.1):
        for share, name in SHARES:
            stops = simulate(rate, rate, runs=options.runs, reports=options.reports, share=share, seed=2)
            lines.append(f"| {percent(rate)} | {name} | {percent(stops.share)} |")
            print(lines[-1], flush=True)
    return lines


def paired(treatment: float, control: float, runs: int, reports: int, seed: int) -> np.ndarray:
    """Turner, Ly and Grünwald's test of pairs, both rates learned on the way; when each release is stopped, or infinity."""
    rng = np.random.default_rng(seed)
    failed, log_e, stops = np.zeros((2, runs)), np.zeros(runs), np.full(runs, np.inf)
    for number in range(reports):
        bad = rng.random((2, runs)) < np.array([[treatment], [control]])
        own = (failed + 0.18) / (number + 2 * 0.18 + 1)
        own[0] = np.maximum(own[0], own[1])
        both = own.mean(axis=0)
        log_e += np.log(np.where(bad, own / both, (1 - own) / (1 - both))).sum(axis=0)
        failed += bad
        stops[(log_e >= -math.log(ALPHA)) & np.isinf(stops)] = number + 1
    return stops


def peeked(
    treatment: float, control: float, runs: int, reports: int, seed: int, every: int = 100
) -> np.ndarray:
    """The one-sided z-test of two proportions at ALPHA, looked at again and again as if each time were the only one."""
    rng = np.random.default_rng(seed)
    failed, stops = np.zeros((2, runs)), np.full(runs, np.inf)
    limit = statistics.NormalDist().inv_cdf(1 - ALPHA)
    for number in range(every, reports + 1, every):
        failed += rng.binomial(every, [[treatment], [control]], (2, runs))
        both = failed.mean(axis=0) / number
        spread = np.sqrt(np.maximum(2 * both * (1 - both) / number, 1e-12))
        over = (failed[0] - failed[1]) / number / spread > limit
        stops[over & np.isinf(stops)] = number
    return stops


def methods(options: argparse.Namespace) -> list[str]:
    lines = ["| test | 5 % against 1 %: median | 2 % against 1 %: median | 1 % against 1 %: rolled back |",
             "|---|--:|--:|--:|"]  # fmt: skip
    rows = {
        f"mixture of odds ratios, blocks of {BLOCK} (used)": lambda *a: np.where(
            (found := simulate(a[0], a[1], runs=a[2], reports=a[3], seed=a[4])).treatment < 0, np.inf, found.treatment),
        "pairs, rates learned (Turner, Ly, Grünwald)": paired,
        "z-test looked at every 100 reports": peeked,
    }  # fmt: skip
    for name, test in rows.items():
        cells = [
            count(float(np.quantile(test(rate, 0.01, 1000, options.reports, 3), 0.5, method="higher")))
            for rate in (0.05, 0.02)
        ]
        false = np.isfinite(test(0.01, 0.01, options.runs, options.reports, 4)).mean()
        lines.append(f"| {name} | {' | '.join(cells)} | {percent(false)} |")
        print(lines[-1], flush=True)
    return lines


def means(options: argparse.Namespace) -> list[str]:
    """Latencies of a long-tailed law, cut at 1,000 ms; margin 20 ms, alpha 0.3 %; vectorised as means.Means."""
    lines = ["| mean latency, ms | control | stopped | median | 90 % by |", "|--:|--:|--:|--:|--:|"]
    runs, bets, margin = min(options.runs, 1000), np.array(BETS)[:, None], 0.02
    for mean in (400, 300, 250, 220, 200, 150):
        rng = np.random.default_rng(5)
        capitals, stops = np.zeros((len(BETS), runs)), np.full(runs, np.inf)
        for number in range(BLOCK, options.reports + 1, BLOCK):
            values = (
                rng.gamma(4.0, np.array([mean, 200])[:, None, None] / 4, (2, BLOCK, runs)).clip(0, 1000)
                / 1000
            )
            worse = values[0].mean(axis=0) - values[1].mean(axis=0)
            capitals += np.log1p(bets / (1 + margin) * (worse - margin))
            over = np.logaddexp.reduce(capitals, axis=0) - math.log(len(BETS)) >= -math.log(METRIC_ALPHA)
            stops[over & np.isinf(stops)] = number
            if np.isfinite(stops).all():
                break
        cells = str(mean), "200", percent(float(np.isfinite(stops).mean()))
        ends = [count(float(np.quantile(stops, part, method="higher"))) for part in (0.5, 0.9)]
        lines.append(f"| {' | '.join([*cells, *ends])} |")
        print(lines[-1], flush=True)
    return lines


def costs() -> list[str]:
    """Microseconds of the state machine, and the size of its state."""
    metric = {"kind": "metric", "name": "ms", "worse": "higher", "low": 0, "high": 1000, "margin": 20}
    gates = [
        {"kind": "sample", "reports": 10_000},
        {"kind": "approval"},
        {"kind": "budget", "per_minute": 10**7},
        metric,
    ]
    plan = {
        "stages": [{"kind": "simulation"}, {"kind": "gray", "percent": 50, "gates": gates}, {"kind": "full"}]
    }
    state, _ = step(None, Created(at=0.0, version="v2", previous="v1", plan=plan))
    state, _ = step(state, Simulated(at=0.0, passed=True))
    rng = random.Random(1)
    events = [
        Report(at=1.0, device=f"d{number}", number=1, version="v1" if number % 2 else "v2", failed=rng.random() < 0.01,
               arm="control" if number % 2 else "treatment", values={"ms": rng.gammavariate(4, 50)})
        for number in range(10_000)
    ]  # fmt: skip
    asks = [Admit(at=2.0, device=f"d{number}", bucket=rng.randrange(1 << 32)) for number in range(10_000)]
    lines = ["| step | µs |", "|---|--:|"]
    for name, some in (("a report with a metric", events), ("an admission with a budget", asks)):
        begin = time.process_time()
        for event in some:
            state, _ = step(state, event)
        lines.append(f"| {name} | {(time.process_time() - begin) / len(some) * 1e6:.1f} |")
    for name, call in (
        ("explain", lambda: explain(state)),
        ("encode and decode the state", lambda: decode(encode(state))),
    ):
        begin = time.process_time()
        for _ in range(200):
            call()
        lines.append(f"| {name} | {(time.process_time() - begin) / 200 * 1e6:.1f} |")
    step(state, Approve(at=3.0, who="ada"))
    print("\n".join(lines), flush=True)
    return [*lines, "", f"The state has {len(encode(state)):,} bytes after {len(events):,} reports."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="simulated releases in each row")
    parser.add_argument(
        "--reports", type=int, default=20_000, help="reports per arm after which a release is left alone"
    )
    parser.add_argument("--markdown", type=Path, help="page to write into")
    options = parser.parse_args()
    begin = time.perf_counter()
    lines = [
        "## Automatic rollback", "",
        f"Made by `python benchmarks/deploy_release.py` on {date.today()}: {machine()}. {options.runs:,} simulated releases in "
        f"each row (1,000 for those that fail more), at most {options.reports:,} reports per arm (arms that are not even: "
        f"{2 * options.reports:,} in all), looked at after every report, alpha {percent(ALPHA)}. Figures are reports of the smaller arm.", "",
    ]  # fmt: skip
    for title, rows in (
        ("Choice of the test", methods(options)),
        ("Releases that fail more often", power(options)),
        ("Healthy releases", healthy(options)),
        ("A slower task (latency, Gamma law cut at 1,000 ms, margin 20 ms, alpha 0.3 %)", means(options)),
        ("Cost of the state machine", costs()),
    ):
        lines += [f"### {title}", "", *rows, ""]
    print(f"{time.perf_counter() - begin:.0f} s")
    if options.markdown:
        write_section(options.markdown, "deploy_release", lines)


if __name__ == "__main__":
    main()
