"""What it costs to find the policies that match a device, on one core; prints a table and writes it where it is told.

python benchmarks/deploy_policies.py [--markdown docs/benchmarks.md]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from report import machine, write_section
from walle_deploy.policies import Compiler, Matcher, explain
from walle_deploy.profile import Profile

Row = tuple[str, str, str]
SYSTEMS = {
    "android": [str(n) for n in range(8, 16)],
    "ios": [f"{n}.{m}" for n in range(14, 19) for m in range(6)],
}
COUNTRIES = [f"c{number:02}" for number in range(40)]
BACKENDS = ["avx", "neon", "gpu", "npu"]
DEVICES = 1_000_000


def app(rng: random.Random) -> str:
    """A version of the application; newer ones are more frequent."""
    return f"10.{min(rng.randrange(40), rng.randrange(40))}.{rng.randrange(4)}"


def profile(rng: random.Random) -> Profile:
    """A device of a fleet of a million."""
    system = rng.choice(["android", "android", "ios"])
    backends = rng.sample(BACKENDS, 2)
    return Profile(
        f"device-{rng.randrange(DEVICES):07}",
        {
            "os": system,
            "os_version": rng.choice(SYSTEMS[system]),
            "app_version": app(rng),
            "memory_mb": rng.choice([2048, 3072, 4096, 6144, 8192, 12288]),
            "model": f"m{rng.randrange(300)}",
            "backends": backends,
            f"speed.{backends[0]}": round(rng.uniform(1, 200), 2),
        },
        {
            "country": rng.choice(COUNTRIES),
            "age": rng.randrange(14, 90),
            "groups": rng.sample(["beta", "staff", "vip"], 1),
        },
        {f"t{number}": str(rng.randrange(9)) for number in range(rng.randrange(20))},
    )


def policy(rng: random.Random, number: int) -> dict[str, Any]:
    """A policy as releases have them: who (by attributes), and how many of them (by a share with an own salt)."""
    kind = rng.random()
    share = {"uniform": {"salt": f"release-{number}", "percent": rng.choice([0.1, 1, 5, 20, 50, 100])}}
    if kind < 0.15:
        return {"devices": [f"device-{rng.randrange(DEVICES):07}" for _ in range(rng.choice([1, 1, 1, 20]))]}
    system = rng.choice(list(SYSTEMS))
    device: dict[str, Any] = {"os": system, "os_version": f">={rng.choice(SYSTEMS[system])}"}
    if rng.random() < 0.7:
        low = rng.randrange(36)
        device["app_version"] = f">=10.{low}" if rng.random() < 0.5 else f">=10.{low},<10.{low + 4}"
    if rng.random() < 0.3:
        device["memory_mb"] = {"ge": rng.choice([3072, 4096, 8192])}
    if rng.random() < 0.2:
        device[f"speed.{rng.choice(BACKENDS)}"] = {"ge": round(rng.uniform(1, 200), 1)}
    if rng.random() < 0.2:
        device["model"] = [f"m{rng.randrange(300)}" for _ in range(5)]
    parts: list[dict[str, Any]] = [{"device": device}]
    if kind > 0.5:
        parts.append({"user": {"country": rng.sample(COUNTRIES, rng.choice([1, 2, 5]))}})
    if kind > 0.8:
        parts.append({"user": {"age": {"ge": 18, "lt": rng.choice([30, 50, 70])}}})
    if kind > 0.9:
        parts.append(
            {
                "any": [
                    {"user": {"groups": {"contains": "beta"}}},
                    {"not": {"device": {"backends": {"contains": "npu"}}}},
                ]
            }
        )
    if rng.random() < 0.7:
        parts.append(share)
    return {"all": parts}


def shares(rng: random.Random, number: int) -> dict[str, Any]:
    """The worst case: nothing but a share, each of an own salt, so that every policy needs its own hash."""
    return {"uniform": {"salt": f"release-{number}", "percent": rng.choice([0.1, 1, 5, 20, 50, 100])}}


def one_salt(rng: random.Random, number: int) -> dict[str, Any]:
    """Nothing but a share, all of one salt."""
    return {"uniform": {"salt": "all", "ppm": rng.randrange(1_000_000)}}


def matcher(make: Callable[[random.Random, int], dict[str, Any]], policies: int) -> tuple[Matcher, float]:
    """So many policies, and the seconds that it took to compile and index them."""
    rng, compiler = random.Random(7), Compiler()
    made = [make(rng, number) for number in range(policies)]
    start = time.process_time()
    found = Matcher({f"policy-{number}": compiler.compile(one) for number, one in enumerate(made)})
    return found, time.process_time() - start


def speed(function: Callable[[Profile], object], profiles: Sequence[Profile]) -> float:
    """Calls per second of processor time: the median of five runs over parts of `profiles`, after one over another part."""
    part = len(profiles) // 6
    found = []
    for number in range(6):
        some = profiles[number * part : (number + 1) * part]
        start = time.process_time()
        for one in some:
            function(one)
        found.append(part / (time.process_time() - start))
    return statistics.median(found[1:])


def rows(number: int) -> list[Row]:
    """All figures."""
    rng, found = random.Random(11), []
    profiles = [profile(rng) for _ in range(number)]
    encoded = [one.canonical for one in profiles]
    for what, make, sizes in (
        ("policies of releases", policy, (200, 10_000)),
        ("shares of one salt", one_salt, (200, 10_000)),
        ("shares, each of an own salt", shares, (200, 10_000)),
    ):
        for policies in sizes:
            made, seconds = matcher(make, policies)
            some = profiles if policies == 200 or make is policy else profiles[: number // 6]
            matched = statistics.mean(len(made.index.match(one)) for one in some[:500])
            rate = speed(made.index.match, some)
            name = f"{policies:,} {what}"
            found.append(
                (name, f"{rate:,.0f} checks/s", f"{matched:.1f} match; built in {seconds * 1000:,.0f} ms")
            )
            if make is not policy:
                continue
            naive = speed(
                lambda one, r=made.rules: [n for n, rule in r.items() if rule.verdict(one)],
                profiles[: 180000 // policies],
            )
            found.append((f"{name}, every rule asked", f"{naive:,.0f} checks/s", "no index, for comparison"))
            few = profiles[: number // 2]
            whole = speed(lambda raw, m=made: m.match(Profile.read(raw)), encoded)  # type: ignore[arg-type, return-value]
            found.append(
                (f"{name}, from bytes", f"{whole:,.0f} checks/s", "decoding, checking and digest included")
            )
            for one in few:
                made.match(one)
            found.append(
                (f"{name}, remembered", f"{speed(made.match, few):,.0f} checks/s", "the profile is at hand")
            )
            digests = [one.digest for one in few]
            known = speed(made.known, digests)  # type: ignore[arg-type]
            found.append((f"{name}, digest remembered", f"{known:,.0f} checks/s", "only the digest is sent"))
            rule = made.rules["policy-7"]
            told = speed(lambda one, r=rule: str(explain(r, one)), profiles[:6000])
            found.append(("explain one policy", f"{1e6 / told:,.0f} µs", "text included"))
            start = time.process_time()
            made.add("one-more", rule)
            made.refresh()
            took = (time.process_time() - start) * 1000
            found.append((f"{name}, one more", f"{took:,.0f} ms", "the index is made anew, off the hot path"))
    return found


def main() -> None:
    """Prints the table; with --markdown it writes it into a page, too."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profiles", type=int, default=30_000)
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    table = rows(given.profiles)
    for what, figure, note in table:
        print(f"{what:55} {figure:>22}   {note}")
    if given.markdown:
        lines = [
            f"## Policies: which of many match one device ({date.today()}, {machine()}, one core)",
            "",
            f"{given.profiles:,} different random profiles of 10 attributes, no answer remembered unless said.",
            "",
            "| what | figure | |",
            "|---|---:|---|",
            *(f"| {what} | {figure} | {note} |" for what, figure, note in table),
        ]
        write_section(given.markdown, "deploy_policies", lines)


if __name__ == "__main__":
    main()
